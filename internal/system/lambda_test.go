package system

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/lambdatest"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
)

// arrivals is a home whose mail is encrypted on arrival.
type arrivals struct {
	*cloud
	function *lambdatest.Function
}

// newArrivals has the function of contrib/lambda between SES and homing. SNS
// delivers what it publishes, unless fault says otherwise.
func newArrivals(t *testing.T, version dovecot.Version, fault *s3test.Fault, pairs ...string) *arrivals {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", program, "github.com/homing-mail/homing/contrib/lambda")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the function: %v\n%s", err, out)
	}
	pair, err := pgp.Generate("me", "me@home.test", "")
	if err != nil {
		t.Fatal(err)
	}
	server := dovecot.Start(t, dovecot.Options{Version: version, Users: users("alice", "bob")})
	a := &arrivals{cloud: newCloud(t, append([]string{"HOMING_DELIVER_TO", "lmtp:" + server.UnixSocket,
		"HOMING_BUCKETS", bucket + "/encrypted/ " + bucket + "/in/", "HOMING_PGP_KEY", string(pair.Secret)}, pairs...)...)}
	a.dovecot = server
	sns := httptest.NewServer(s3test.Faulty(site.signer.Publisher(topic(), a.publish), func(*http.Request) *s3test.Fault { return fault }))
	t.Cleanup(sns.Close)
	a.function = lambdatest.New(t, program, "AWS_REGION="+snstest.Region, "AWS_ENDPOINT_URL_S3="+a.env["AWS_ENDPOINT_URL_S3"],
		"AWS_ACCESS_KEY_ID="+a.env["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY="+a.env["AWS_SECRET_ACCESS_KEY"],
		"AWS_ENDPOINT_URL_SNS="+sns.URL, "AWS_MAX_ATTEMPTS=1", "HOMING_S3_PATH_STYLE=true",
		"HOMING_BUCKET="+bucket+"/in/", "HOMING_TOPIC="+topic(), "HOMING_PGP_ENCRYPT_TO="+string(pair.Public))
	return a
}

// publish is SNS's way to the webhook.
func (a *arrivals) publish(_ snstest.Published, notification []byte) error {
	status, answer, err := a.postSigned(notification)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the webhook answered %d %s", status, answer)
	}
	return err
}

// arrive has SES store a message and call the function.
func (a *arrivals) arrive(message []byte, sender string, recipients ...string) (id string, err error) {
	a.tb.Helper()
	id = newID()
	a.put("in/"+id, message)
	_, err = a.function.Invoke(a.tb, snstest.SESLambda(snstest.Receipt{MessageID: id, Sender: sender, Recipients: recipients}), time.Minute)
	return id, err
}

// Mail that is encrypted on arrival comes home as any other.
func TestEncryptedOnArrival(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		a := newArrivals(t, version, nil)
		message := letter("on arrival")
		id, err := a.arrive(message, "ann@far.test", address("alice"), address("bob"))
		if err != nil {
			t.Fatal(err)
		}
		a.sealed("encrypted/" + id)
		for _, user := range []string{address("alice"), address("bob")} {
			got := a.one(user, "INBOX")
			sameMessage(t, got.message, message)
			sameOriginals(t, got, user)
			if got.sender != "ann@far.test" || got.verdicts != verdicts(nil) {
				t.Errorf("it came from <%s> with %q", got.sender, got.verdicts)
			}
		}
		if it := a.awaitItem(id, "done", func(it item) bool { return it.State == "done" }); it.Kind != "ses_s3" {
			t.Errorf("it is %+v", it)
		}
		a.sameMetric(t, `homing_decrypt_total{result="ok",scheme="pgp"}`, 1)
	})
}

// If the function can publish nothing the sweep finds what it encrypted, and all
// recipients inside; and if it does not run at all, the plain message.
func TestSweptOnArrival(t *testing.T) {
	t.Parallel()
	a := newArrivals(t, dovecot.V23, &s3test.Fault{Status: http.StatusInternalServerError, Code: "InternalError"},
		"HOMING_SWEEP_INTERVAL", "1s", "HOMING_SWEEP_GRACE", "0", "HOMING_BUCKETS", bucket+"/encrypted/")
	message := received(address("alice"), "mallory@far.test") // which has one recipient only
	id, err := a.arrive(message, "", address("alice"), address("bob"))
	if err == nil || errors.Is(err, lambdatest.ErrDied) {
		t.Fatalf("without SNS: %v", err)
	}
	a.sealed("encrypted/" + id)
	for _, user := range []string{address("alice"), address("bob")} {
		got := a.one(user, "INBOX")
		sameMessage(t, got.message, message)
		if got.sender != "" {
			t.Errorf("it came from <%s>, want the null sender", got.sender)
		}
	}
	a.stop(t)
	a.env["HOMING_BUCKETS"] += " " + bucket + "/in/"
	a.restart()
	a.put("in/"+newID(), message)
	a.folder(address("alice"), "INBOX", 2)
}
