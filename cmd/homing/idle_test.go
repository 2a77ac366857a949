package main

import (
	"bytes"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/homing-mail/homing/internal/pipe"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/poller"
	"github.com/homing-mail/homing/spool"
)

var soak = flag.Bool("soak", false, "an idle day instead of six hours")

// A day on which only the first hour brings mail, in fake time: maintenance,
// sweeps, long polls and scrapes go on, and what they use does not grow. Then
// mail still comes home.
func TestSoakIdleDay(t *testing.T) {
	alone(t)
	state, boxes := t.TempDir(), t.TempDir()
	hours := time.Duration(6)
	if *soak {
		hours = 24
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t, state, boxes, hours/2*time.Hour)
		defer d.end()
		for n := range 20 {
			d.put(fmt.Sprintf("early%d", n))
		}
		d.pass(time.Hour)
		if n := d.delivered(); n != 20 {
			t.Fatalf("%d mails came home in the first hour, want 20", n)
		}
		first := d.hour()
		d.pass((hours - 3) * time.Hour)
		last := d.hour()
		t.Logf("the most of the second hour: %+v; of the last: %+v", first, last)
		if last.goroutines > first.goroutines || last.descriptors > first.descriptors || last.connections > first.connections {
			t.Errorf("in the last hour homing used %+v, in the second %+v; its goroutines now:\n%s", last, first, d.stacks())
		}
		if last.rows >= first.rows {
			t.Errorf("the spool has %d rows, want fewer than %d: the mail is older than the history", last.rows, first.rows)
		}
		d.put("late")
		d.pass(time.Hour)
		if n := d.delivered(); n != 21 {
			t.Errorf("%d mails came home, want the late one, too", n)
		}
	})
}

// day is a homing between neighbours that it reaches without a network, which
// fake time does not wait for.
type day struct {
	t      *testing.T
	app    *app
	bucket *s3mem.Backend
	queue  *sqstest.Server
	pipes  *pipes // to homing
	client *http.Client
	db     *sql.DB
	state  string
	boxes  string
	stop   context.CancelFunc
	ended  chan error
}

func newDay(t *testing.T, state, boxes string, history time.Duration) *day {
	t.Helper()
	cfg, err := loadConfig(enough("HOMING_STATE_DIR="+state, "HOMING_LISTEN=", "HOMING_METRICS_LISTEN=", "HOMING_HISTORY="+history.String(),
		"HOMING_DELIVER_TO=maildir:"+boxes+"/%n", "HOMING_FALLBACK_MAILBOX=me@example.com", "HOMING_LOG_FORMAT=json"))
	if err != nil {
		t.Fatal(err)
	}
	d := &day{t: t, bucket: s3mem.New(), queue: sqstest.NewInMemory("mail"), state: state, boxes: boxes, ended: make(chan error, 1)}
	if err := d.bucket.CreateBucket("mail"); err != nil {
		t.Fatal(err)
	}
	plenty := func(string) (int64, error) { return 1 << 40, nil }
	log := newLogger(cfg, t.Output())
	if d.app, err = newApp(t.Context(), cfg, neighbours{s3: d.s3(), free: plenty}, log); err != nil {
		t.Fatal(err)
	}
	d.app.pull.queues = []*poller.Queue{poller.NewQueue(poller.QueueConfig{
		Client: d.queue.Client(), URL: d.queue.URL("mail"), Trust: poller.Trust{Raw: true}, Intake: d.app.intake, Ledger: d.app.spool,
		Courier: d.app.courier, Observer: d.app.metrics, Log: log, Grace: grace,
	})}
	d.listen()
	if d.db, err = sql.Open("sqlite", filepath.Join(state, spool.FileName)+"?_pragma=busy_timeout(10000)"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	go func() { d.ended <- d.app.run(ctx) }()
	return d
}

// s3 is a client of the bucket that carries requests out by itself.
func (d *day) s3() *s3.Client {
	server := gofakes3.New(d.bucket).Server()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String("http://s3.test"), UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			answer := httptest.NewRecorder()
			if r.Body == nil {
				r.Body = http.NoBody
			}
			if r.URL.Query().Has("tagging") { // gofakes3 would answer the object
				http.Error(answer, "<Error><Code>NotImplemented</Code></Error>", http.StatusNotImplemented)
				return answer.Result(), nil
			}
			server.ServeHTTP(answer, r)
			return answer.Result(), nil
		})},
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// listen opens homing's listener for metrics, then puts pipes in its place.
func (d *day) listen() {
	d.t.Helper()
	if err := d.app.open(d.t.Context(), "HOMING_METRICS_LISTEN", "127.0.0.1:0", d.app.health(), nil); err != nil {
		d.t.Fatal(err)
	}
	s := d.app.servers[0]
	if err := s.listener.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.pipes = &pipes{Listener: pipe.Listen()}
	s.listener = d.pipes
	d.client = &http.Client{Transport: &http.Transport{DialContext: d.pipes.DialContext}}
}

// put stores a message of which nobody tells.
func (d *day) put(key string) {
	d.t.Helper()
	header := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
	if _, err := d.bucket.PutObject("mail", key, header, strings.NewReader(testMail), int64(len(testMail)), nil); err != nil {
		d.t.Fatal(err)
	}
}

func (d *day) delivered() int {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.boxes, "*", "new", "*"))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(files)
}

// pass lets time go by, with Prometheus asking each minute, and not for half of
// each hour. A health check that asks each third minute then finds its connection
// given up.
func (d *day) pass(long time.Duration) {
	d.t.Helper()
	for minute := range int(long / time.Minute) {
		pass(time.Minute)
		if minute/30%2 == 0 {
			d.ask("/metrics")
		}
		if minute%3 == 0 {
			d.ask("/readyz")
		}
	}
}

func (d *day) ask(path string) {
	d.t.Helper()
	answer, err := d.client.Get("http://homing.test" + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		d.t.Fatalf("%s is answered %s, %v", path, answer.Status, err)
	}
}

func (d *day) end() {
	d.stop()
	d.client.CloseIdleConnections()
	if err := <-d.ended; err != nil {
		d.t.Error(err)
	}
	if err := d.db.Close(); err != nil {
		d.t.Error(err)
	}
	if err := d.queue.Close(); err != nil {
		d.t.Error(err)
	}
}

// usage is what homing uses, and the test beside it.
type usage struct{ goroutines, descriptors, connections, rows int }

// hour lets an hour pass and returns the most that was used at any minute.
func (d *day) hour() (most usage) {
	d.t.Helper()
	for range 60 {
		d.pass(time.Minute)
		synctest.Wait()
		now := usage{bytes.Count(d.stacks(), []byte("synctest bubble")), d.descriptors(), int(d.pipes.open.Load()), d.rows()}
		most = usage{max(most.goroutines, now.goroutines), max(most.descriptors, now.descriptors),
			max(most.connections, now.connections), max(most.rows, now.rows)}
	}
	return most
}

// stacks are the goroutines of all bubbles, of which there is one, and others.
// runtime.NumGoroutine would count the runtime's own, too, which run finalizers
// when it collects garbage.
func (d *day) stacks() []byte {
	d.t.Helper()
	text := make([]byte, 1<<20)
	n := runtime.Stack(text, true)
	if n == len(text) {
		d.t.Fatal("a megabyte does not hold the stacks of all goroutines")
	}
	return text[:n]
}

// descriptors counts what is open beside the spool, whose connections are as many
// as were ever needed at once, up to its limit. Elsewhere than on Linux nobody counts.
func (d *day) descriptors() (n int) {
	files, _ := filepath.Glob("/proc/self/fd/*")
	for _, file := range files {
		if open, err := os.Readlink(file); err == nil && !strings.HasPrefix(open, d.state) {
			n++
		}
	}
	return n
}

// rows is how many the spool has, in all tables.
func (d *day) rows() (n int) {
	d.t.Helper()
	const all = `SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM recipient) + (SELECT count(*) FROM delivery) +
		(SELECT count(*) FROM content) + (SELECT count(*) FROM meta) + (SELECT count(*) FROM mailbox) + (SELECT count(*) FROM recovery)`
	if err := d.db.QueryRowContext(d.t.Context(), all).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// pipes counts what is open of its connections.
type pipes struct {
	*pipe.Listener
	open atomic.Int64
}

func (p *pipes) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.open.Add(1)
	return &piped{Conn: conn, pipes: p}, nil
}

type piped struct {
	net.Conn
	pipes *pipes
	once  atomic.Bool
}

func (c *piped) Close() error {
	if !c.once.Swap(true) {
		c.pipes.open.Add(-1)
	}
	return c.Conn.Close()
}
