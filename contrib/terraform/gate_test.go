package terraform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate stands before an S3 and an SQS and lets through what a policy allows, as
// IAM does for them. What it takes a request for is in AWS's tables:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
type gate struct {
	s3, sqs string // its own endpoints
	t       *testing.T
	policy  policy

	mu           sync.Mutex
	all, refused []string // as in "s3:GetObject arn:aws:s3:::bucket/key", each once
}

func newGate(t *testing.T, p policy, s3, sqs string) *gate {
	t.Helper()
	g := &gate{t: t, policy: p}
	g.s3 = g.before(s3, actionsOfS3, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>not allowed: %s</Message></Error>`)
	g.sqs = g.before(sqs, actionsOfSQS, `{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"not allowed: %s"}`)
	return g
}

func (g *gate) before(endpoint string, actions func(*http.Request) []string, answer string) string {
	to, err := url.Parse(endpoint)
	if err != nil {
		g.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host // the host is signed
	}, ErrorLog: log.New(io.Discard, "", 0)} // of a homing that was stopped
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refused := g.ask(actions(r)); refused != "" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, answer, refused)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	g.t.Cleanup(server.Close)
	return server.URL
}

// ask returns what is not allowed of some actions, "" if all are.
func (g *gate) ask(actions []string) (refused string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range actions {
		action, resource, _ := strings.Cut(a, " ")
		if !slices.Contains(g.all, a) {
			g.all = append(g.all, a)
		}
		if !g.policy.allows(g.t, request{action: action, resource: resource}) {
			refused = a
			if !slices.Contains(g.refused, a) {
				g.refused = append(g.refused, a)
			}
		}
	}
	return refused
}

// saw tells whether an action was asked for.
func (g *gate) saw(action string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.all, func(a string) bool { return strings.HasPrefix(a, action+" ") })
}

func (g *gate) refusals() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.refused)
}

func actionsOfS3(r *http.Request) []string {
	at := strings.TrimPrefix(r.URL.Path, "/")
	resource := "arn:aws:s3:::" + at
	query := r.URL.Query()
	version := ""
	if query.Has("versionId") {
		version = "Version"
	}
	if !strings.Contains(strings.TrimSuffix(at, "/"), "/") {
		resource = strings.TrimSuffix(resource, "/")
		if r.Method == http.MethodGet && query.Get("list-type") == "2" {
			return []string{"s3:ListBucket " + resource}
		}
		return []string{"s3:?" + r.Method + "?" + r.URL.RawQuery + " " + resource}
	}
	switch kind := map[string]string{"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}[r.Method]; {
	case query.Has("tagging"):
		return []string{"s3:" + kind + "Object" + version + "Tagging " + resource}
	case kind == "Put":
		return append(source(r.Header), written(r.Header, resource)...)
	default:
		return []string{"s3:" + kind + "Object" + version + " " + resource}
	}
}

func written(header http.Header, resource string) []string {
	if header.Get("X-Amz-Tagging") != "" {
		return []string{"s3:PutObject " + resource, "s3:PutObjectTagging " + resource}
	}
	return []string{"s3:PutObject " + resource}
}

// source is what copying an object asks for.
func source(header http.Header) []string {
	from, err := url.Parse("/" + header.Get("X-Amz-Copy-Source"))
	switch {
	case from.Path == "/" || err != nil:
		return nil
	case from.RawQuery != "":
		return []string{"s3:GetObjectVersion arn:aws:s3:::" + from.Path[1:]}
	}
	return []string{"s3:GetObject arn:aws:s3:::" + from.Path[1:]}
}

func actionsOfSQS(r *http.Request) []string {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ QueueURL string }
	if err != nil || json.Unmarshal(body, &in) != nil {
		return []string{"sqs:? *"}
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return []string{"sqs:" + strings.TrimSuffix(action, "Batch") + " arn:aws:sqs:" + gatewayRegion + ":" + account + ":" + path.Base(in.QueueURL)}
}
