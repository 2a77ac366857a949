package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/lambdatest"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
)

// A message is encrypted and announced, and calling the function again, as
// Lambda may, changes nothing and announces it again.
func TestOnArrival(t *testing.T) {
	for _, versions := range []bool{false, true} {
		r := newRig(t, versions)
		r.arrive(letter)
		var first string
		for n := range 3 {
			if err := r.invoke(); err != nil {
				t.Fatal(err)
			}
			sealed := r.sealed()
			if n == 0 {
				first = sealed
			}
			if sealed != first {
				t.Error("it was encrypted again")
			}
			r.announces(r.said())
		}
	}
}

// What SES says beside what we know is handed on.
func TestHandsOn(t *testing.T) {
	r := newRig(t, false)
	r.arrive(letter)
	var event struct {
		Records []struct {
			SES struct{ Mail, Receipt map[string]any } `json:"ses"`
		}
	}
	raw := called("alice@home.test", "bob+x@home.test")
	if err := json.Unmarshal(raw, &event); err != nil {
		t.Fatal(err)
	}
	raw = []byte(strings.Replace(string(raw), `"receipt":{`, `"receipt":{"dmarcPolicy":"reject","novelty":[1,{"a":null}],`, 1))
	if _, err := r.function.Invoke(t, raw, patience); err != nil {
		t.Fatal(err)
	}
	said := r.said()
	r.announces(said)
	var notification struct {
		NotificationType string
		Mail, Receipt    map[string]any
	}
	if err := json.Unmarshal([]byte(said[0].Message), &notification); err != nil {
		t.Fatal(err)
	}
	ses := event.Records[0].SES
	ses.Receipt["dmarcPolicy"], ses.Receipt["novelty"] = "reject", []any{1.0, map[string]any{"a": nil}}
	ses.Receipt["action"] = map[string]any{"type": "S3", "topicArn": r.topic, "bucketName": bucket,
		"objectKeyPrefix": "encrypted/", "objectKey": "encrypted/" + id}
	if diff := cmp.Diff(ses.Mail, notification.Mail) + cmp.Diff(ses.Receipt, notification.Receipt); diff != "" {
		t.Error(diff)
	}
}

// TestFaults breaks off each request to S3 and SNS, before it happened and
// after, and kills the function there. Lambda calls it again: nothing is lost,
// and nothing is left that could be read.
func TestFaults(t *testing.T) {
	for _, versions := range []bool{false, true} {
		r := newRig(t, versions)
		for name, fault := range map[string]s3test.Fault{
			"failed":               {Status: 503, Code: "SlowDown"},
			"failed, but happened": {Reset: true, Happens: true},
			"killed":               {Reset: true, Then: r.function.Kill},
			"killed after":         {Reset: true, Happens: true, Then: r.function.Kill},
		} {
			for step := 0; r.breakOff(step, fault); step++ {
				if err := r.invoke(); err != nil {
					t.Fatalf("%s at request %d: again: %v", name, step, err)
				}
				r.sealed()
				r.announces(r.said())
			}
		}
	}
}

// breakOff spoils one request of the first call with a message, and reports
// whether there was such a request.
func (r *rig) breakOff(step int, fault s3test.Fault) bool {
	r.t.Helper()
	r.clear()
	r.said()
	r.arrive(letter)
	var count atomic.Int64
	var writes atomic.Bool // what only reads is repeated by net/http itself
	r.inject(func(request *http.Request) *s3test.Fault {
		if count.Add(1) != int64(step)+1 {
			return nil
		}
		writes.Store(request.Method != http.MethodGet && request.Method != http.MethodHead)
		if fault.Then != nil && !fault.Happens {
			fault.Then()
		}
		return &fault
	})
	err := r.invoke()
	r.inject(nil)
	reached := count.Load() > int64(step)
	if reached && err == nil && writes.Load() {
		r.t.Errorf("request %d failed, and nobody says so", step)
	}
	if reached && fault.Then != nil && !errors.Is(err, lambdatest.ErrDied) {
		r.t.Errorf("killed at request %d: %v", step, err)
	}
	if !reached && err != nil {
		r.t.Fatal(err)
	}
	return reached
}

// A message that is not there is an error, so that Lambda tries again, and is
// not announced.
func TestNothingThere(t *testing.T) {
	r := newRig(t, false)
	if err := r.invoke(); err == nil || !strings.Contains(err.Error(), "in/"+id) {
		t.Errorf("error %v", err)
	}
	if said := r.said(); len(said) > 0 {
		t.Errorf("published %+v", said)
	}
}

// Two rules that store under the same prefix make two versions.
func TestTwoVersions(t *testing.T) {
	r := newRig(t, true)
	for range 3 {
		r.arrive(letter)
	}
	if err := r.invoke(); err != nil {
		t.Fatal(err)
	}
	r.sealed()
	r.announces(r.said())
}

// What is encrypted already is announced where it is.
func TestEncryptedBefore(t *testing.T) {
	r := newRig(t, false)
	r.arrive(letter)
	if err := r.invoke(); err != nil {
		t.Fatal(err)
	}
	sealed := r.sealed()
	r.said()
	r.clear()
	r.arrive(sealed)
	if err := r.invoke(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"in/" + id: {sealed}}, r.every()); diff != "" {
		t.Error("the object was touched")
	}
	if said := r.said(); len(said) != 1 || !strings.Contains(said[0].Message, `"objectKey":"in/`+id+`"`) {
		t.Errorf("published %+v", said)
	}
}

func TestMessages(t *testing.T) {
	for _, test := range []struct{ event, mistake string }{
		{string(snstest.SESLambda(snstest.Receipt{MessageID: setupID})), ""},
		{`[]`, "not one of SES"},
		{`{"Records":[]}`, "no records"},
		{`{"Records":[{"eventSource":"aws:s3"}]}`, `"aws:s3"`},
		{`{"Records":[{"eventSource":"aws:ses","ses":{}}]}`, "messageId"},
		{`{"Records":[{"eventSource":"aws:ses","ses":{"mail":{"messageId":"","source":""},"receipt":{"recipients":[]}}}]}`, "messageId"},
		{`{"Records":[{"eventSource":"aws:ses","ses":{"mail":{"messageId":"../x","source":""},"receipt":{"recipients":[]}}}]}`, "messageId"},
		{`{"Records":[{"eventSource":"aws:ses","ses":{"mail":{"messageId":"a","source":""},"receipt":{"recipients":"b"}}}]}`, "recipients"},
		{`{"Records":[{"eventSource":"aws:ses","ses":{"mail":{"messageId":"a"},"receipt":{"recipients":[]}}}]}`, "source"},
	} {
		all, err := messages([]byte(test.event))
		if test.mistake == "" {
			if err != nil || len(all) != 0 {
				t.Errorf("%.100s: %v, %v", test.event, all, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.mistake) {
			t.Errorf("%.100s: %v", test.event, err)
		}
	}
}

// A notification that SNS would not take says less.
func TestNotificationFits(t *testing.T) {
	var recipients []string
	for n := range 500 {
		recipients = append(recipients, fmt.Sprintf("somebody-%d@home.test", n))
	}
	all, err := messages(snstest.SESLambda(snstest.Receipt{MessageID: id, Sender: "ann@far.test", Recipients: recipients,
		Content: []byte("Subject: " + strings.Repeat("long ", maxNotification/5) + "\r\n\r\n")}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := all[0].notification("topic", bucket, "encrypted/", "encrypted/"+id)
	if err != nil || len(text) > maxNotification || !strings.Contains(text, "somebody-499@home.test") || strings.Contains(text, "long") {
		t.Errorf("%d octets, %v: %.300s", len(text), err, text)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(called("alice@home.test"))
	f.Add([]byte(`{"Records":[{"eventSource":"aws:ses","ses":{"mail":{"messageId":"a","source":null},"receipt":{"recipients":null}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := messages(raw)
		if err != nil {
			return
		}
		for _, m := range all {
			text, err := m.notification("topic", bucket, "encrypted/", "encrypted/"+m.id)
			if err != nil || !json.Valid([]byte(text)) {
				t.Errorf("%q: %v: %s", raw, err, text)
			}
		}
	})
}
