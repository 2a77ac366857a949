package main

import (
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/poller"
)

func TestCheckQueues(t *testing.T) {
	alone(t)
	server, err := sqstest.New("mail", "brief", "few", "dead")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	server.Redrive("mail", "dead", 20, longest)
	server.Redrive("brief", "dead", 20, 36*time.Hour)
	server.Redrive("few", "dead", 3, longest)
	server.Send("mail", "a mail", nil, time.Time{})
	r := newRig(t)
	check := func(queues, dead string) collected {
		lines, _ := tried(t, r.neighbours(), r.checkVariables("HOMING_SQS_QUEUES="+queues, "HOMING_DLQ="+dead)...)
		return lines
	}
	lines := check(server.URL("mail")+","+server.URL("brief")+","+server.URL("few")+","+server.URL("none"), server.URL("dead"))
	found := lines.find("sqs queue")
	if len(found) != 4 {
		t.Fatalf("the lines are\n%s", lines)
	}
	wantWarning(t, found[0], "kept for 36h", "MessageRetentionPeriod") // their order is the configuration's
	wantWarning(t, found[1], "given up after 3 receives", "maxReceiveCount")
	wantWell(t, found[2], "about 1 messages, kept for 14d")
	wantFailed(t, found[3], "SQS answered", "check the queue's URL")
	wantWarning(t, lines.one(t, "dead letters"), "kept for 4d", "1209600")
	wantWell(t, lines.one(t, "clock"), "")
	if n := server.Calls()["ReceiveMessage"]; n != 0 {
		t.Errorf("the check took messages %d times", n)
	}

	server.Redrive("dead", "mail", 0, longest)
	wantWell(t, check("", server.URL("dead")).one(t, "dead letters"), "never given up")
	server.Inject(func(string, sqstest.Request) *sqstest.Fault {
		return &sqstest.Fault{Status: 400, Code: "AccessDeniedException"}
	})
	wantFailed(t, check(server.URL("mail"), "").one(t, "sqs queue"), "AccessDeniedException", "allow sqs:")
	server.Close()
	wantFailed(t, check(server.URL("mail"), "").one(t, "sqs queue"), "no answer", "")
}

func TestDescribeQueue(t *testing.T) {
	got := describeQueue(poller.QueueState{Messages: 3, Visibility: 30 * time.Second, Retention: 4 * 24 * time.Hour})
	if want := "about 3 messages, kept for 4d, visibility timeout 30s (homing asks for its own), never given up"; got != want {
		t.Errorf("got %q", got)
	}
}
