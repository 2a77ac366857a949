package dovecot

import (
	"embed"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed *.conf.tmpl
var templates embed.FS

// configuration is what the templates are filled with.
type configuration struct {
	Options

	Dir, Name, Password string
	LMTPPort, IMAPPort  string
	UID, GID            int
	Quota               bool

	Rootless            bool
	UserName, GroupName string // of the one user of a rootless Dovecot
}

// configure writes the server's configuration.
func (s *Server) configure() error {
	c, err := s.configuration()
	if err != nil {
		return err
	}
	text, err := template.ParseFS(templates, string(s.Version)+".conf.tmpl")
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(s.dir, "dovecot.conf"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := text.Execute(file, c); err != nil {
		return err
	}
	return file.Close()
}

func (s *Server) configuration() (configuration, error) {
	c := configuration{
		Options:  s.options,
		Dir:      s.inside,
		Name:     filepath.Base(s.inside),
		Password: Password,
		UID:      s.mailUID(),
		GID:      s.mailGID(),
		Quota:    slices.ContainsFunc(s.options.Users, User.limited),
		Rootless: s.rootless(),
	}
	c.Config = strings.ReplaceAll(c.Config, "@DIR@", s.inside)
	if c.MailFsync == "" {
		c.MailFsync = "optimized"
	}
	var err error
	if _, c.LMTPPort, err = net.SplitHostPort(s.TCPAddr); err != nil {
		return c, err
	}
	if _, c.IMAPPort, err = net.SplitHostPort(s.IMAPAddr); err != nil {
		return c, err
	}
	if c.Rootless {
		c.UserName, c.GroupName, err = ourNames()
	}
	return c, err
}

func ourNames() (userName, groupName string, err error) {
	me, err := user.Current()
	if err != nil {
		return "", "", err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return "", "", err
	}
	return me.Username, group.Name, nil
}

func (u User) limited() bool { return u.QuotaBytes > 0 || u.QuotaMessages > 0 }

// passwd returns the users in the form of a passwd-file with Dovecot's extra fields.
func (s *Server) passwd() string {
	var file strings.Builder
	for _, user := range s.options.Users {
		fmt.Fprintf(&file, "%s:{PLAIN}%s::::::", user.Name, Password)
		if user.limited() {
			file.WriteString(user.quota(s.Version))
		}
		file.WriteByte('\n')
	}
	return file.String()
}

// quota returns a user's quota as an extra field of the passwd-file.
func (u User) quota(version Version) string {
	var rule, fields strings.Builder
	if u.QuotaBytes > 0 {
		fmt.Fprintf(&rule, ":bytes=%d", u.QuotaBytes)
		fmt.Fprintf(&fields, " userdb_quota_storage_size=%dB", u.QuotaBytes)
	}
	if u.QuotaMessages > 0 {
		fmt.Fprintf(&rule, ":messages=%d", u.QuotaMessages)
		fmt.Fprintf(&fields, " userdb_quota_message_count=%d", u.QuotaMessages)
	}
	if version == V23 {
		return "userdb_quota_rule=*" + rule.String()
	}
	return strings.TrimSpace(fields.String())
}
