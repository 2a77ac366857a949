package system

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/prometheus"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
)

const (
	dashboardFile = "../../contrib/grafana/homing.json"
	rulesFile     = "../../contrib/prometheus/homing.rules.yml"
)

// question is what one panel of the dashboard asks for.
type question struct{ panel, expr string }

// questions are those of the file that is shipped, asked as Grafana asks them for
// the last hour of all homings.
func questions(tb testing.TB) (all []question) {
	tb.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		tb.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		tb.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "10m", "$__interval", "10m", "$__range", "1h", "$instance", ".+")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			all = append(all, question{panel.Title, variables.Replace(target.Expr)})
		}
	}
	return all
}

// idle are the panels that may show nothing but 0 while all goes well enough.
var idle = []string{"Message bytes in memory", "Scrapes that could not read the spool"}

// A homing to which a little of everything happens shows something in every
// panel, and its rules can be evaluated.
func TestDashboardShowsWhatHappens(t *testing.T) {
	t.Parallel()
	h, busy := watched(t)
	server := prometheus.StartWith(t, rulesFile, h.metrics)
	// What happens before the first look is no increase.
	server.Await(t, `homing_build_info`)
	busy()
	asked := questions(t)
	for _, q := range asked {
		await(t, "data in the panel "+q.panel, func() error { return answered(t, server, q) })
	}
	if len(asked) < 40 {
		t.Errorf("the dashboard asks only %d questions", len(asked))
	}
	rules := server.Rules(t)
	for _, rule := range rules {
		if rule.Health != "ok" {
			t.Errorf("rule %s: %s", rule.Name, rule.LastError)
		}
	}
	if len(rules) < 15 {
		t.Errorf("only %d rules were read", len(rules))
	}
	// A few that must have seen what has happened.
	for _, alert := range []string{"HomingSweepFindsMail", "HomingDeadLetters", "HomingHeld", "HomingFetchDenied", "HomingCertificateExpires"} {
		server.Await(t, fmt.Sprintf(`ALERTS{alertname=%q}`, alert))
	}
	const calm = `alertname=~"HomingDown|HomingDestinationAway|HomingNoMail"`
	if got := server.Query(t, fmt.Sprintf(`ALERTS{alertstate="firing", %s}`, calm)); len(got) != 0 {
		t.Errorf("these fire: %v", got)
	}
	server.Await(t, fmt.Sprintf(`absent(ALERTS{%s})`, calm)) // a late scrape has one pend for a moment
}

// answered returns nil when a question has an answer that says something.
func answered(tb testing.TB, server *prometheus.Server, q question) error {
	tb.Helper()
	samples := server.Query(tb, q.expr)
	told := slices.ContainsFunc(samples, func(s prometheus.Sample) bool {
		return !math.IsNaN(s.Value) && (s.Value != 0 || slices.Contains(idle, q.panel))
	})
	if !told {
		return fmt.Errorf("%s yields %v", q.expr, samples)
	}
	return nil
}

// watched starts a homing that uses all it can use, and returns what makes a
// little of everything happen to it.
func watched(t *testing.T) (h *home, busy func()) {
	t.Helper()
	queues, err := sqstest.New("mail", "dead")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queues.Close() })
	// Until it is watched no queue can be read.
	queues.Inject(func(operation string, _ sqstest.Request) *sqstest.Fault {
		return &sqstest.Fault{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"}
	})
	keys, err := kmstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	pair, err := pgp.Generate("me", address("alice"), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate := writeCertificate(t, cert, key, 1)
	h = settle(t, dovecot.Options{Version: dovecot.V23, Users: users("alice", "postmaster")},
		"AWS_ENDPOINT_URL_KMS", keys.Endpoint(), "HOMING_TLS_CERT_PATH", cert, "HOMING_TLS_KEY_PATH", key,
		"HOMING_SQS_QUEUES", queues.URL("mail"), "HOMING_DLQ", queues.URL("dead"), "HOMING_POSTMASTER", address("postmaster"),
		"HOMING_SWEEP_INTERVAL", "1s", "HOMING_SWEEP_GRACE", "1s",
		"HOMING_FORM_PATH", "/form", "HOMING_FORM_SECRET", strings.Repeat("s", 32), "HOMING_FORM_KEY", string(pair.Public), "HOMING_FORM_MAILBOX", address("alice"),
		"HOMING_AFTER_DELIVERY", "tag", "HOMING_AFTER_DELIVERY_DELAY", "1s")
	return h, func() { h.live(certificate, queues, keys) }
}

// live makes things happen and waits until they have.
func (h *home) live(certificate *x509.Certificate, queues *sqstest.Server, keys *kmstest.Server) {
	t := h.tb
	t.Helper()
	denied := newID()
	h.s3.Inject(func(r *http.Request) *s3test.Fault {
		if strings.HasSuffix(r.URL.Path, "/"+denied) {
			return &s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return nil
	})
	for range 3 {
		h.postOver(certificate)
	}
	announce := func(id string) string { return string(sign(receipt(id, "ann@far.test", address("alice")))) }
	const failures = `homing_sqs_errors_total{operation="receive"}`
	before, err := h.metric(failures)
	if err != nil {
		t.Fatal(err)
	}
	h.awaitMetric(t, failures, before+1)
	queues.Inject(nil)
	queues.Send("mail", announce(h.store(letter("from the queue"))), nil, time.Time{})
	queues.Send("mail", announce(h.storeSealed(keys, letter("encrypted"))), nil, time.Time{})
	queues.Send("mail", string(sign(`{"what": "is this"}`)), nil, time.Time{})
	queues.Send("dead", announce(h.store(letter("from the dead"))), nil, time.Time{})
	if err := h.s3.Put(bucket, newID(), received(address("alice"), "ann@far.test"), nil); err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(announce(newID()), "ann@far.test", "eve@far.test", 1)
	status, _, err := snstest.Post(t.Context(), trusting(certificate), "https://"+h.webhook+"/sns", []byte(forged))
	if status != http.StatusForbidden || err != nil {
		t.Errorf("what is forged is answered %d, %v", status, err)
	}
	if status, _, err := snstest.Post(t.Context(), trusting(certificate), "https://"+h.webhook+"/form", []byte("hello")); status != http.StatusBadRequest || err != nil {
		t.Errorf("what is no form's is answered %d, %v", status, err)
	}
	// It goes on waiting, so that there is an oldest.
	body := []byte(announce(denied))
	if status, _, err := snstest.Post(t.Context(), trusting(certificate), "https://"+h.webhook+"/sns", body); status != http.StatusOK || err != nil {
		t.Errorf("what S3 will deny is answered %d, %v", status, err)
	}
	h.dovecot.WaitMessages(t, address("alice"), "INBOX", 7)
	await(t, "the report", func() error {
		if n, err := h.metric(`homing_reports_total{kind="dlq"}`); err != nil || n < 1 {
			return errors.Join(errors.New("there is none"), err)
		}
		return nil
	})
}

// storeSealed stores a message as SES does where a receipt rule encrypts.
func (h *home) storeSealed(keys *kmstest.Server, message []byte) (id string) {
	h.tb.Helper()
	id = newID()
	object, err := kmstest.Seal(h.tb.Context(), keys.Client(), kmstest.Key, id, message)
	if err != nil {
		h.tb.Fatal(err)
	}
	if err := h.s3.Put(bucket, id, object.Octets, object.Metadata); err != nil {
		h.tb.Fatal(err)
	}
	return id
}
