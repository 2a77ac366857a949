package system

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/snstest"
)

// load is SNS while much mail comes in: it posts from several connections and
// repeats each notification until it is acknowledged.
type load struct {
	home  *home
	users []string
	done  sync.WaitGroup

	mu    sync.Mutex
	where string            // the webhook's address, empty while nobody listens
	acked map[string]string // by message id: the mailbox
	next  int
	most  int // how many to send; 0: until stopped
}

// begin sends most messages, or until stop, to these users in turn.
func (h *home) begin(most int, users ...string) *load {
	l := &load{home: h, users: users, most: most, where: h.webhook, acked: map[string]string{}}
	for range 8 {
		l.done.Go(func() {
			for {
				n, more := l.take()
				if !more {
					return
				}
				l.send(address(users[n%len(users)]))
			}
		})
	}
	return l
}

func (l *load) take() (n int, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most != 0 && l.next >= l.most {
		return 0, false
	}
	l.next++
	return l.next - 1, true
}

// awaitMore waits until so many more are acknowledged.
func (l *load) awaitMore(more int) {
	l.home.tb.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked)
	}
	want := count() + more
	await(l.home.tb, fmt.Sprintf("%d messages to be acknowledged", want), func() error {
		if n := count(); n < want {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// moved tells where homing listens now.
func (l *load) moved(where string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.where = where
}

// stop sends nothing new, and waits until all that was sent is acknowledged.
func (l *load) stop() {
	l.mu.Lock()
	l.most = max(l.next, 1)
	l.mu.Unlock()
	l.wait()
}

func (l *load) wait() {
	l.home.tb.Helper()
	l.done.Wait()
	if l.home.tb.Failed() {
		l.home.tb.FailNow()
	}
}

// send stores one message of 4 KB, and announces it until that is acknowledged.
func (l *load) send(mailbox string) {
	id := newID()
	message := fmt.Sprintf("From: ann@far.test\r\nSubject: %s\r\n\r\n%s", id, strings.Repeat("Nothing else to say in this line of text.\r\n", 96))
	if err := l.home.s3.Put(bucket, id, []byte(message), nil); err != nil {
		l.home.tb.Error(err)
		return
	}
	notification := sign(receipt(id, "ann@far.test", mailbox))
	ctx, cancel := context.WithTimeout(l.home.tb.Context(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !l.post(ctx, notification) {
		select {
		case <-again.C:
		case <-ctx.Done():
			l.home.tb.Errorf("message %s was never acknowledged", id)
			return
		}
	}
	l.mu.Lock()
	l.acked[id] = mailbox
	l.mu.Unlock()
}

// post reports whether the notification was acknowledged.
func (l *load) post(ctx context.Context, notification []byte) bool {
	l.mu.Lock()
	where := l.where
	l.mu.Unlock()
	if where == "" {
		return false
	}
	status, _, err := snstest.Post(ctx, site.poster, "http://"+where+"/sns", notification)
	return err == nil && status == http.StatusOK
}

var subject = regexp.MustCompile(`(?m)^Subject: (\S+)\r$`)

// verify checks that each acknowledged message is in its mailbox, more than
// once only where that is allowed, and then as one that Dovecot could recognise.
// It returns how many there are too many.
func (l *load) verify(onceOnly bool) (repeated int) {
	tb := l.home.tb
	tb.Helper()
	copies := map[string][]arrived{} // by message id
	for _, user := range l.users {
		for _, message := range l.home.dovecot.Mailbox(tb, address(user), "INBOX") {
			a := open(tb, message)
			id := string(subject.FindSubmatch(a.message)[1])
			copies[id] = append(copies[id], a)
		}
	}
	if len(l.acked) == 0 {
		tb.Error("no message was acknowledged")
	}
	for id, mailbox := range l.acked {
		all := copies[id]
		if len(all) == 0 {
			tb.Errorf("message %s was acknowledged and is lost", id)
			continue
		}
		repeated += len(all) - 1
		for _, a := range all {
			if a.mailbox != mailbox || a.id != all[0].id {
				tb.Errorf("message %s for %s has copies for %s with X-Homing-Id %s and %s", id, mailbox, a.mailbox, all[0].id, a.id)
			}
		}
		if onceOnly && len(all) > 1 {
			tb.Errorf("message %s arrived %d times", id, len(all))
		}
	}
	if len(copies) != len(l.acked) {
		tb.Errorf("%d messages arrived, %d were sent", len(copies), len(l.acked))
	}
	return repeated
}

// shipped is a Dovecot as contrib/dovecot wants it, with these users.
func shipped(tb testing.TB, version dovecot.Version, users []dovecot.User) dovecot.Options {
	tb.Helper()
	read := func(name string) string {
		text, err := os.ReadFile("../../contrib/dovecot/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		return string(text)
	}
	config, files := read("dovecot-"+string(version)+".conf"), map[string]string{}
	for _, script := range []string{"homing.sieve", "homing-spam.sieve"} {
		path := "= /etc/dovecot/" + script + "\n"
		if strings.Count(config, path) != 1 {
			tb.Fatalf("the fragment does not name %s once: %s", script, config)
		}
		config = strings.Replace(config, path, "= @DIR@/sieve/"+script+"\n", 1)
		files["sieve/"+script] = read(script)
	}
	return dovecot.Options{Version: version, Users: users, Config: config, Files: files}
}

// forReplicas is shipped with the line that replicas need.
func forReplicas(tb testing.TB, options dovecot.Options) dovecot.Options {
	tb.Helper()
	const alone, several = "\nlmtp_user_concurrency_limit = 1\n", "\n#lmtp_user_concurrency_limit = 2\n"
	if strings.Count(options.Config, alone) != 1 || strings.Count(options.Config, several) != 1 {
		tb.Fatalf("the fragment does not have one line for one homing and one for several: %s", options.Config)
	}
	options.Config = strings.Replace(options.Config, alone, "\n", 1)
	options.Config = strings.Replace(options.Config, several, strings.Replace(several, "#", "", 1), 1)
	return options
}
