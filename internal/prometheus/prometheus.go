// Package prometheus starts a real Prometheus for tests, as Debian ships it, and
// asks promtool for its opinion of metrics.
package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// patience is how long a slow machine may take for anything.
const patience = 3 * time.Minute

// interval is how often the targets are scraped.
const interval = 200 * time.Millisecond

// Server is a running Prometheus.
type Server struct {
	URL string // of its API, without a slash at the end

	log    string // a file
	exited chan struct{}
	cmd    *exec.Cmd
}

// Sample is one element of an instant vector.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Rule is one rule of a file, as Prometheus has understood it.
type Rule struct {
	Name      string
	Health    string // ok, err or unknown
	LastError string
}

// Start runs a Prometheus that scrapes these targets, each host:port with its
// metrics under /metrics, five times a second until the test ends. It ends the
// test as package neighbour does if Prometheus is not installed.
func Start(tb testing.TB, targets ...string) *Server {
	tb.Helper()
	return StartWith(tb, "", targets...)
}

// StartWith is Start with the path of a file of rules, which are evaluated as
// often.
func StartWith(tb testing.TB, rules string, targets ...string) *Server {
	tb.Helper()
	program := neighbour.Program(tb, "prometheus")
	dir := tb.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, configuration(tb, rules, targets), 0o644); err != nil {
		tb.Fatal(err)
	}
	s := &Server{log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	if err := s.start(program, config, neighbour.Address(tb)); err != nil {
		tb.Fatalf("starting Prometheus: %v", err)
	}
	tb.Cleanup(s.stop)
	return s
}

// configuration returns a configuration file in JSON, which is YAML too.
func configuration(tb testing.TB, rules string, targets []string) []byte {
	tb.Helper()
	files := []string{}
	if rules != "" {
		path, err := filepath.Abs(rules)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, path)
	}
	text, err := json.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": interval.String(), "scrape_timeout": interval.String(), "evaluation_interval": interval.String()},
		"rule_files": files,
		"scrape_configs": []any{map[string]any{
			"job_name": "test", "static_configs": []any{map[string]any{"targets": targets}},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func (s *Server) start(program, config, address string) error {
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.URL = "http://" + address
	s.cmd = exec.Command(program, "--config.file="+config, "--web.listen-address="+address,
		"--storage.tsdb.path="+filepath.Join(filepath.Dir(config), "data"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = new(syscall.SysProcAttr)
	neighbour.DieWithParent(s.cmd.SysProcAttr, syscall.SIGKILL)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // its log tells more than its exit code
	}()
	if err := s.until(s.ready); err != nil {
		s.stop()
		return fmt.Errorf("%w\n%s", err, s.tail())
	}
	return nil
}

// stop kills it: what it holds in memory and its directory are of no more use.
func (s *Server) stop() {
	_ = s.cmd.Process.Kill() // an error means that it has ended already
	<-s.exited
}

func (s *Server) ready() error {
	answer, err := http.Get(s.URL + "/-/ready")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", answer.Status)
	}
	return nil
}

// Query returns the present value of a PromQL expression that yields an instant vector.
func (s *Server) Query(tb testing.TB, expression string) []Sample {
	tb.Helper()
	samples, err := s.query(expression)
	if err != nil {
		tb.Fatalf("%s: %v", expression, err)
	}
	return samples
}

// Await waits until an expression yields something, and returns it: a comparison
// such as `homing_messages{state="held"} == 1` yields nothing until it is true.
func (s *Server) Await(tb testing.TB, expression string) []Sample {
	tb.Helper()
	var samples []Sample
	err := s.until(func() (err error) {
		samples, err = s.query(expression)
		if err == nil && len(samples) == 0 {
			err = fmt.Errorf("nothing after %v", patience)
		}
		return err
	})
	if err != nil {
		tb.Fatalf("%s: %v\n%s", expression, err, s.tail())
	}
	return samples
}

// Rules returns all rules, once each has been evaluated.
func (s *Server) Rules(tb testing.TB) []Rule {
	tb.Helper()
	var rules []Rule
	err := s.until(func() (err error) {
		rules, err = s.rules()
		return err
	})
	if err != nil {
		tb.Fatalf("%v\n%s", err, s.tail())
	}
	return rules
}

func (s *Server) rules() (all []Rule, err error) {
	answer, err := http.Get(s.URL + "/api/v1/rules")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var reply struct {
		Data struct {
			Groups []struct{ Rules []Rule }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&reply); err != nil {
		return nil, err
	}
	for _, group := range reply.Data.Groups {
		all = append(all, group.Rules...)
	}
	for _, rule := range all {
		if rule.Health == "unknown" {
			return nil, fmt.Errorf("rule %s has not been evaluated", rule.Name)
		}
	}
	return all, nil
}

// query asks the HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
func (s *Server) query(expression string) ([]Sample, error) {
	answer, err := http.PostForm(s.URL+"/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var reply struct {
		Error string
		Data  struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("refused: %s", reply.Error)
	}
	if reply.Data.ResultType != "vector" {
		return nil, fmt.Errorf("it yields a %s, not a vector", reply.Data.ResultType)
	}
	return vector(reply.Data.Result)
}

// vector decodes elements of the form {"metric": {...}, "value": [<time>, "<value>"]}.
func vector(result json.RawMessage) ([]Sample, error) {
	var elements []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(result, &elements); err != nil {
		return nil, err
	}
	samples := make([]Sample, 0, len(elements))
	for _, element := range elements {
		sample := Sample{Labels: element.Metric}
		if _, err := fmt.Sscan(fmt.Sprint(element.Value[1]), &sample.Value); err != nil {
			return nil, fmt.Errorf("value %v: %w", element.Value[1], err)
		}
		samples = append(samples, sample)
	}
	return samples, nil
}

// CheckMetrics fails the test if promtool finds a mistake in metrics, which are
// in the text format of /metrics, or something in them that it advises against.
func CheckMetrics(tb testing.TB, metrics []byte) {
	tb.Helper()
	cmd := exec.Command(neighbour.Program(tb, "promtool"), "check", "metrics")
	cmd.Stdin = bytes.NewReader(metrics)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		tb.Errorf("promtool check metrics (%v):\n%s", err, out)
	}
}

// until calls try until it succeeds; it returns the last error when patience or
// Prometheus is at an end.
func (s *Server) until(try func() error) error {
	again := time.NewTicker(interval / 10)
	defer again.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended by itself: %w", err)
		case <-end:
			return err
		case <-again.C:
		}
	}
}
