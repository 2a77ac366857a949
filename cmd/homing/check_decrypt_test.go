package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/kmstest"
)

func TestCheckKMS(t *testing.T) {
	denied := kmstest.Fault{Status: 400, Code: "AccessDeniedException"}
	for _, test := range []struct {
		name   string
		fill   func(r *rig)
		fault  *kmstest.Fault
		failed bool
		detail string
		mend   string // empty: it is well
	}{
		{"no object", func(*rig) {}, nil, false, "not tried: none of the 5 newest objects", ""},
		{"plain", func(r *rig) { r.put("in/m1", testMail) }, nil, false, "not tried", ""},
		{"sealed", func(r *rig) { r.putSealed(1, testMail) }, nil, false, "kms:Decrypt is allowed", ""},
		{"mixed", func(r *rig) { r.put("in/m1", testMail); r.putSealed(1, testMail); r.put("in/z", testMail) }, nil, false, "was opened", ""},
		{"denied", func(r *rig) { r.putSealed(1, testMail) }, &denied, true, "kms:Decrypt is not allowed", "allow these credentials kms:Decrypt on the key that " + kmstest.Key},
		{"disabled", func(r *rig) { r.putSealed(1, testMail) }, &kmstest.Fault{Status: 400, Code: "DisabledException"}, true, "DisabledException", "enable " + kmstest.Key},
		{"down", func(r *rig) { r.putSealed(1, testMail) }, &kmstest.Fault{}, true, "no answer", "reach KMS"},
		{"unsupported", func(r *rig) {
			if err := r.s3.Put(testBucket, "in/m1", []byte("x"), map[string]string{"x-amz-key": "AAAA"}); err != nil {
				r.t.Fatal(err)
			}
		}, nil, false, "version 1", "SES stores no such objects"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t).withKMS()
			test.fill(r)
			r.kms.Fail(test.fault)
			lines, err := tried(t, r.neighbours(), r.checkVariables()...)
			if (err != nil) != test.failed {
				t.Errorf("%v\n%s", err, lines)
			}
			line := lines.one(t, "kms")
			switch {
			case test.failed:
				wantFailed(t, line, test.detail, test.mend)
			case test.mend != "":
				wantWarning(t, line, test.detail, test.mend)
			default:
				wantWell(t, line, test.detail)
			}
			if line.Mend != "" && strings.Contains(line.Detail, line.Mend) {
				t.Errorf("the mend is there twice: %+v", line)
			}
		})
	}
}

// TestCheckKMSWithoutList: what cannot be found is not tried, and no failure.
func TestCheckKMSWithoutList(t *testing.T) {
	r := newRig(t).withKMS()
	r.putSealed(1, testMail)
	s3Refusing(r, isList)
	lines, _ := tried(t, r.neighbours(), r.checkVariables("HOMING_SWEEP_INTERVAL=0")...)
	wantWell(t, lines.one(t, "kms"), "not tried")
}

// TestNewestMail: whatever the keys are, the newest are chosen, of a bounded part
// of the bucket.
func TestNewestMail(t *testing.T) {
	pages, all := 0, []time.Time(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		pages++
		fmt.Fprint(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>`, pages, `</NextContinuationToken>`)
		for i := range 10 {
			stored := time.Date(2026, 11, 22, 0, (7*i+3*pages)%50, pages, 0, time.UTC)
			all = append(all, stored)
			fmt.Fprintf(w, "<Contents><Key>in/%d-%d</Key><Size>1</Size><LastModified>%s</LastModified></Contents>", pages, i, stored.Format(time.RFC3339))
		}
		fmt.Fprint(w, `<Contents><Key>in/AMAZON_SES_SETUP_NOTIFICATION</Key><Size>1</Size><LastModified>2027-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`)
	}))
	defer server.Close()
	where := fetcher.Place{Bucket: testBucket, Prefix: "in/"}
	client := s3.New(newRig(t).s3.Client().Options(), func(o *s3.Options) { o.BaseEndpoint = &server.URL })
	newest, err := newestMail(t.Context(), fetcher.New(fetcher.Config{Client: client, Places: []fetcher.Place{where}}), where)
	if err != nil || pages != kmsPages || len(newest) != kmsNewest {
		t.Fatalf("%v, %d pages, %v", err, pages, newest)
	}
	slices.SortFunc(all, func(a, b time.Time) int { return b.Compare(a) })
	for i, o := range newest {
		if !o.Stored.Equal(all[i]) {
			t.Errorf("number %d is of %s, want %s", i, o.Stored, all[i])
		}
	}
}

func TestCheckPGP(t *testing.T) {
	r := newRig(t)
	pair, locked := newKey(t, ""), newKey(t, "right")
	lines, err := tried(t, r.neighbours(), r.checkVariables()...)
	if err != nil || len(lines.find("pgp keys")) != 0 {
		t.Errorf("without keys: %v\n%s", err, lines)
	}
	lines, err = tried(t, r.neighbours(), r.checkVariables("HOMING_PGP_KEY="+string(pair.Secret))...)
	if err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
	if line := lines.one(t, "pgp key"); line.Target != pair.ID {
		t.Errorf("%+v", line)
	}
	wantWell(t, lines.one(t, "pgp key"), "does not expire")
	lines, err = tried(t, r.neighbours(), r.checkVariables("HOMING_PGP_KEY="+string(pair.Secret)+string(locked.Secret), "HOMING_PGP_PASSPHRASE=wrong")...)
	if err == nil {
		t.Error("a locked key is no failure")
	}
	found := lines.find("pgp key")
	if len(found) != 2 {
		t.Fatalf("the lines are\n%s", lines)
	}
	wantWell(t, found[0], "opens")
	wantFailed(t, found[1], "is held", "correct HOMING_PGP_PASSPHRASE")
	wantWarning(t, lines.one(t, "configuration"), locked.ID, "")
	if line := lines.one(t, "configuration"); line.Target != "HOMING_PGP_PASSPHRASE" {
		t.Errorf("%+v", line)
	}
	lines, err = tried(t, r.neighbours(), r.checkVariables("HOMING_PGP_KEY="+string(pair.Public))...)
	if _, usage := errors.AsType[usageError](err); !usage || len(lines.find("pgp key")) != 0 {
		t.Errorf("%v\n%s", err, lines)
	}
	wantFailed(t, lines.one(t, "configuration"), "public key", "")
}

func TestJudgeKey(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	wantWell(t, line(judgeKey(pgp.State{Expires: now.Add(90 * 24 * time.Hour)}, now)), "expires Sat, 20 Feb 2027")
	wantWarning(t, line(judgeKey(pgp.State{Expires: now.Add(9 * 24 * time.Hour)}, now)), "expires in 9d", "quick-set-expire")
	wantWarning(t, line(judgeKey(pgp.State{Unfit: errors.New("it has expired")}, now)), "nothing more will be: it has expired", "new public part")
	wantFailed(t, line(judgeKey(pgp.State{Fault: errors.New("nonsense")}, now)), "nonsense", "export the key again")
}

func line(f finding) checkLine {
	return checkLine{OK: !f.failed, Warning: f.warning, Detail: f.detail, Mend: f.mend}
}
