package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/internal/versitygw"
)

// gatewayRegion is the one that versitygw expects in signatures.
const gatewayRegion = "us-east-1"

// mail is stored under SES's kind of name.
const (
	mail    = "From: a@example.net\r\nTo: b@example.com\r\nSubject: hello\r\n\r\nhello\r\n"
	mailKey = "inbox/4n8v0m1r5s7d2kq9cjthb6xw3yeagzuplfo10001"
)

// With the module's policy and environment homing does its work, before a real S3
// server and an SQS that ask the policy first, and is refused nothing.
func TestHomingAtWork(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	w.move(t, gatewayRegion)
	for _, test := range []struct {
		vars
		settled func(*site) bool // what is to become of the object
	}{
		{vars{"after_delivery": "tag"}, func(s *site) bool { return s.tagged(mailKey) }},
		{vars{"after_delivery": "tag", "versioning": true}, func(s *site) bool { return s.tagged(mailKey) }},
		{vars{"after_delivery": "delete"}, func(s *site) bool { return !s.has(mailKey) }},
		{vars{"after_delivery": "delete", "versioning": true}, func(s *site) bool { return !s.has(mailKey) }},
		{vars{"after_delivery": "move:delivered/", "versioning": true}, func(s *site) bool {
			return !s.has(mailKey) && s.has("delivered/"+filepath.Base(mailKey))
		}},
		{vars{"after_delivery": "encrypt"}, func(s *site) bool { return s.sealed(mailKey) }},
		{vars{"after_delivery": "encrypt", "versioning": true}, func(s *site) bool { return s.sealed(mailKey) }},
		{vars{"after_delivery": "encrypt:delivered/", "versioning": true}, func(s *site) bool {
			return !s.has(mailKey) && s.sealed("delivered/"+filepath.Base(mailKey))
		}},
	} {
		test.vars["sqs"] = true
		m := w.apply(t, enough(test.vars))
		t.Run(fmt.Sprint(test.vars), func(t *testing.T) {
			t.Parallel() // they wait for the sweep, which waits for an empty queue
			s := newSite(t, m, m.outputs["policy"].(string), test.vars["versioning"] == true)
			log := s.serve(t)
			if err := await(t, func() bool {
				return test.settled(s) && len(s.sqs.Messages(s.queue)) == 0 && s.gate.saw("s3:ListBucket")
			}); err != nil {
				t.Errorf("%v\nasked for %q\n%s", err, s.gate.all, log)
			}
			if refused := s.gate.refusals(); refused != nil {
				t.Errorf("refused %q", refused)
			}
		})
	}
}

// Each statement is needed.
func TestHomingAtWorkWithLess(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	w.move(t, gatewayRegion)
	for _, test := range []struct{ sid, after, refused string }{
		{"Read", "keep", "s3:GetObject"},
		{"List", "keep", "s3:ListBucket"},
		{"Tag", "tag", "s3:PutObjectTagging"},
		{"Delete", "delete", "s3:DeleteObject"},
		{"Write", "move:delivered/", "s3:PutObject"},
		{"Write", "encrypt", "s3:PutObject"},
		{"Delete", "encrypt:delivered/", "s3:DeleteObject"},
		{"Recover", "keep", "sqs:ReceiveMessage"},
		{"Pull", "keep", "sqs:ReceiveMessage"},
	} {
		m := w.apply(t, enough(vars{"after_delivery": test.after, "sqs": true}))
		whole := m.outputs["policy"].(string)
		less := regexp.MustCompile(`,?\{[^{}]*"Sid":"`+test.sid+`"\}`).ReplaceAllString(whole, "")
		less = strings.Replace(less, "[,", "[", 1)
		if less == whole {
			t.Fatalf("no statement %s in %s", test.sid, whole)
		}
		t.Run(test.sid, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, m, less, false)
			log := s.serve(t)
			refused := func() bool { return strings.Contains(fmt.Sprint(s.gate.refusals()), test.refused+" ") }
			if err := await(t, refused); err != nil {
				t.Errorf("%v\nrefused %q\n%s", err, s.gate.refusals(), log)
			}
		})
	}
}

// site is what the module makes of AWS, as far as homing sees it.
type site struct {
	environment   map[string]any
	bucket, queue string
	gate          *gate
	s3            *s3.Client // past the gate
	sqs           *sqstest.Server
	key, secret   string
}

// newSite has a message in the bucket, and in the queue the news of it.
func newSite(t *testing.T, m *made, policy string, versioning bool) *site {
	t.Helper()
	gateway := versitygw.Start(t)
	environment := m.outputs["environment"].(map[string]any)
	queue := filepath.Base(environment["HOMING_SQS_QUEUES"].(string))
	queues, err := sqstest.New(queue, filepath.Base(environment["HOMING_DLQ"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queues.Close() })
	s := &site{
		environment: environment, bucket: m.outputs["bucket"].(string), queue: queue,
		gate: newGate(t, parsePolicy(t, policy), gateway.URL, queues.Endpoint()), s3: gateway.Client(), sqs: queues,
		key: gateway.AccessKey, secret: gateway.SecretKey,
	}
	_, err = s.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.bucket})
	if err == nil && versioning {
		_, err = s.s3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &s.bucket,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	}
	var stored *s3.PutObjectOutput
	if err == nil {
		stored, err = s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String(mailKey), Body: strings.NewReader(mail)})
	}
	if err != nil {
		t.Fatal(err)
	}
	event := snstest.S3Event(snstest.Object{Bucket: s.bucket, Key: mailKey, Version: aws.ToString(stored.VersionId)})
	queues.Send(queue, event, nil, time.Now())
	return s
}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

// String is all so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// serve runs homing with the environment that the module prints, until the test
// ends.
func (s *site) serve(t *testing.T) *output {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), built.homing, "serve")
	for name, value := range s.environment {
		cmd.Env = append(cmd.Env, name+"="+value.(string))
	}
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL_S3="+s.gate.s3, "AWS_ENDPOINT_URL_SQS="+s.gate.sqs, "HOMING_S3_PATH_STYLE=true",
		"AWS_ACCESS_KEY_ID="+s.key, "AWS_SECRET_ACCESS_KEY="+s.secret, "HOMING_SQS_RAW=true",
		"HOMING_DELIVER_TO=maildir:"+dir+"/mail/%n", "HOMING_FALLBACK_MAILBOX=me", "HOMING_STATE_DIR="+dir,
		"HOMING_METRICS_LISTEN=", "HOMING_SWEEP_INTERVAL=1s", "HOMING_SWEEP_GRACE=1s", "HOMING_AFTER_DELIVERY_DELAY=1s")
	if after, _ := s.environment["HOMING_AFTER_DELIVERY"].(string); strings.HasPrefix(after, "encrypt") {
		cmd.Env = append(cmd.Env, "HOMING_PGP_ENCRYPT_TO_FILE="+publicKey(t))
	}
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
		_ = cmd.Wait()
	})
	return log
}

// await waits for something to become true.
func await(t *testing.T, condition func() bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.New("it has not come to that within five minutes")
		}
	}
	return nil
}

func (s *site) has(key string) bool {
	_, err := s.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	return err == nil
}

// sealed tells whether there is an object that cannot be read.
func (s *site) sealed(key string) bool {
	out, err := s.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return false
	}
	defer out.Body.Close()
	text, err := io.ReadAll(out.Body)
	return err == nil && !bytes.Contains(text, []byte("hello"))
}

func (s *site) tagged(key string) bool {
	out, err := s.s3.GetObjectTagging(context.Background(), &s3.GetObjectTaggingInput{Bucket: &s.bucket, Key: &key})
	return err == nil && len(out.TagSet) == 1 && aws.ToString(out.TagSet[0].Key) == "homing" && aws.ToString(out.TagSet[0].Value) == "delivered"
}
