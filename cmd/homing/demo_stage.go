package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/homing-mail/homing/internal/lmtpsink"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/maildir"
)

const demoBucket = "demo-mail"

var demoTopic = snstest.Topic("mail")

// stage is homing's neighbours in the demo. They say what they see.
type stage struct {
	say     func(who, format string, args ...any)
	sns     *snstest.Signer
	s3      *s3test.Server
	lmtp    *lmtpsink.Server // nil when a real one is used
	boxes   *maildir.Maildir
	maildir bool
	socket  string

	mu   sync.Mutex
	came map[string][]byte // what arrived, by SES id
}

func newStage(ctx context.Context, dir string, real bool, say func(who, format string, args ...any)) (_ *stage, err error) {
	s := &stage{say: say, maildir: !real, came: map[string][]byte{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.sns, err = snstest.New(); err != nil {
		return nil, err
	}
	if s.s3, err = s3test.New(demoBucket); err != nil {
		return nil, err
	}
	s.s3.Inject(s.watch)
	if real {
		return s, nil
	}
	if s.boxes, err = maildir.New(filepath.Join(dir, "mail", "%d", "%n")); err != nil {
		return nil, err
	}
	if err := s.boxes.Prepare(); err != nil {
		return nil, err
	}
	s.socket = filepath.Join(dir, "lmtp")
	s.lmtp, err = lmtpsink.New(ctx, lmtpsink.Config{Network: "unix", Address: s.socket, Deliver: s.deliver})
	return s, err
}

// configure makes the configuration of a homing on this stage. Of the user's own
// it has where mail goes, and nothing else: the demo must take nothing out of
// their queues.
func (s *stage) configure(user *Config, dir string) *Config {
	cfg, _ := parseConfig(nil) // the defaults, which are right
	cfg.Listen, cfg.MetricsListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.SNSTopics = topics{demoTopic}
	cfg.Buckets = places{{bucket: demoBucket}}
	cfg.StateDir = filePath(filepath.Join(dir, "state"))
	cfg.MaxMessage, cfg.Memory = user.MaxMessage, user.Memory
	if s.maildir {
		cfg.DeliverTo = destination{network: "unix", address: s.socket}
		return cfg // the user's own mailboxes are not here
	}
	cfg.DeliverTo, cfg.LMTPConnections = user.DeliverTo, user.LMTPConnections
	cfg.rules, cfg.FallbackMailbox = user.rules, user.FallbackMailbox
	return cfg
}

// watch says what is asked of S3.
func (s *stage) watch(r *http.Request) *s3test.Fault {
	if key, found := strings.CutPrefix(r.URL.Path, "/"+demoBucket+"/"); found && r.Method == http.MethodGet {
		s.say("S3", "was asked for %s", key)
	}
	return nil
}

// deliver is Dovecot's part: it puts the mail into a Maildir.
func (s *stage) deliver(ctx context.Context, sender, recipient string, octets []byte) error {
	if err := s.boxes.Deliver(ctx, sender, recipient, [][]byte{octets}); err != nil {
		return err
	}
	header, _, _ := bytes.Cut(octets, []byte("\r\n\r\n"))
	for line := range strings.Lines(string(header)) {
		if id, found := strings.CutPrefix(line, "Message-ID: <"); found {
			id, _, _ = strings.Cut(id, "@")
			s.mu.Lock()
			s.came[id] = bytes.Clone(octets)
			s.mu.Unlock()
		}
	}
	s.say("LMTP", "delivered to the mailbox of %s: 250", recipient)
	return nil
}

// compare checks that what arrived is what was sent, below homing's own header
// lines.
func (s *stage) compare(id string, sent []byte) error {
	if !s.maildir {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	came, ok := s.came[id]
	if !ok || !bytes.HasSuffix(came, sent) {
		return fmt.Errorf("what arrived is not what was sent as %s", id)
	}
	s.say("demo", "compared: every octet is as it was sent")
	return nil
}

func (s *stage) close() error {
	var errs []error
	if s.lmtp != nil {
		errs = append(errs, s.lmtp.Close())
	}
	if s.s3 != nil {
		errs = append(errs, s.s3.Close())
	}
	if s.sns != nil {
		s.sns.Close()
	}
	return errors.Join(errs...)
}
