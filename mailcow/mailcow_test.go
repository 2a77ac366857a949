package mailcow

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const testKey = "AAAAAA-BBBBBB-CCCCCC-DDDDDD-EEEEEE"

// api answers as mailcow does, with the lists in testdata unless a test has put
// something else in their place.
type api struct {
	*httptest.Server
	instead map[string]http.HandlerFunc // by the kind of list
}

func newAPI(t *testing.T) *api {
	a := &api{instead: map[string]http.HandlerFunc{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/get/{kind}/all", func(w http.ResponseWriter, r *http.Request) {
		kind := r.PathValue("kind")
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("X-API-Key") != testKey {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"type":"error","msg":"authentication failed"}`)
			return
		}
		if handle := a.instead[kind]; handle != nil {
			handle(w, r)
			return
		}
		http.ServeFile(w, r, "testdata/"+kind+".json")
	})
	a.Server = httptest.NewTLSServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *api) client(t *testing.T, key string) *Client {
	t.Helper()
	client, err := New(a.URL, key, a.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

// The lists in testdata are in mailcow's own words: numbers from PHP 8.2 and, in
// one of them, the strings of its documentation.
func TestRead(t *testing.T) {
	d, err := newAPI(t).client(t, testKey).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.String(), "domains: 3, alias domains: 1, mailboxes: 4, aliases: 6"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	rules, warnings := d.Rules()
	var got strings.Builder
	for _, rule := range rules {
		got.WriteString(rule.Pattern + "=" + strings.Join(rule.Mailboxes, " ") + "\n")
	}
	want, err := os.ReadFile("testdata/rules")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("rules are\n%s\nwant\n%s", got.String(), want)
	}
	if len(warnings) != 2 {
		t.Errorf("warnings are %q, want one of forward@ and one of noreply@", warnings)
	}
}

func TestReadFails(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked with the key %q", r.URL, r.Header.Get("X-API-Key"))
	}))
	defer elsewhere.Close()
	words := strings.Repeat("words", 10_000)
	for _, test := range []struct {
		name, kind string
		answer     http.HandlerFunc
		want       string
	}{
		{"no right", "domain", say(http.StatusUnauthorized, `{"type":"error","msg":"api access denied for ip 192.0.2.1"}`), `api access denied for ip 192.0.2.1`},
		{"an error with 200", "alias", say(http.StatusOK, `{"type":"error","msg":["access_denied"]}`), "mailcow says: error"},
		{"a failure", "mailbox", say(http.StatusBadGateway, "<html>"), "answered 502"},
		{"nothing", "alias", say(http.StatusOK, ""), "a list was expected"},
		{"null", "alias", say(http.StatusOK, "null"), "not null"},
		{"a page", "domain", say(http.StatusOK, "<html>log in</html>"), "a list was expected, not \"<html>"},
		{"half a list", "alias", say(http.StatusOK, `[{"address":"a@example.com"`), "a list was expected"},
		{"two lists", "alias", say(http.StatusOK, `[][]`), "a list was expected"},
		{"an object", "alias", say(http.StatusOK, `{"address":"a@example.com"}`), "a list was expected"},
		{"another type", "alias", say(http.StatusOK, `[{"address":7}]`), "a list was expected"},
		{"a word for a flag", "alias", say(http.StatusOK, `[{"address":"a@example.com","domain":"example.com","goto":"b@example.com","active":"✔"}]`), "where a number was expected"},
		{"a false flag", "alias", say(http.StatusOK, `[{"address":"a@example.com","domain":"example.com","goto":"b@example.com","active":true}]`), "where a number was expected"},
		{"no domains", "domain", say(http.StatusOK, "{}"), "there is no domain"},
		{"no mailboxes", "mailbox", say(http.StatusOK, "{}"), "mailboxes, and 0 were listed"},
		{"no aliases", "alias", say(http.StatusOK, "{}"), "aliases, and none was listed"},
		{"no alias domains", "alias-domain", say(http.StatusOK, "{}"), "not in the list of domains"},
		{"another place", "domain", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "it leads elsewhere"},
		{"too much, and no end", "domain", func(w http.ResponseWriter, r *http.Request) {
			for range maxAnswer>>20 + 1 {
				w.Write(make([]byte, 1<<20))
			}
			<-r.Context().Done()
		}, "which is not believed"},
		{"many words", "domain", say(http.StatusOK, "<html>"+words), "a list was expected"},
		{"many words of refusal", "domain", say(http.StatusForbidden, `{"type":"error","msg":"`+words+`"}`), "is the API key active"},
		{"many words for a flag", "domain", say(http.StatusOK, `[{"domain_name":"a","active":"`+words+`"}]`), "where a number was expected"},
		{"another place of many words", "domain", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+words, http.StatusFound)
		}, "it leads elsewhere"},
		{"broken off", "domain", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "[{")
		}, "broke off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t)
			a.instead[test.kind] = test.answer
			d, err := a.client(t, testKey).Read(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if d != nil {
				t.Error("there is a directory in spite of the error")
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d octets", len(err.Error()))
			}
			if err != nil && strings.Contains(err.Error(), testKey) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}

func TestWrongKey(t *testing.T) {
	_, err := newAPI(t).client(t, "other").Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "authentication failed") || !strings.Contains(err.Error(), "is the API key active") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownCertificate(t *testing.T) {
	a := newAPI(t)
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	client, err := New(a.URL, testKey, http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want the certificate refused", err)
	}
}

// silent is a server that takes the request and never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := New("https://mail.example.com", testKey, silent{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := client.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "no whole answer within 2m0s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("it took %s, want %s", took, patience)
		}
	})
}

func TestInterrupted(t *testing.T) {
	client, err := New("https://mail.example.com", testKey, silent{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it interrupted", err)
	}
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		address, key string
		ok           bool
	}{
		{"https://mail.example.com", testKey, true},
		{"https://mail.example.com:8443/", testKey + "\n", true},
		{"http://localhost:8080", testKey, true},
		{"http://127.0.0.1", testKey, true},
		{"http://mail.example.com", testKey, false},
		{"http://localhost.example.com", testKey, false},
		{"mail.example.com", testKey, false},
		{"ftp://localhost", testKey, false},
		{"https://user:secret@mail.example.com", testKey, false},
		{"https://mail.example.com/?a=b", testKey, false},
		{"https://mail.example.com", "", false},
		{"https://mail.example.com", "two words", false},
		{"https://mail.example.com", "a\r\nHost: b", false},
	} {
		if _, err := New(test.address, test.key, nil); (err == nil) != test.ok {
			t.Errorf("%q with %q: %v", test.address, test.key, err)
		}
	}
}

// Whatever a list says, it is refused, or each of its entries can be judged.
func FuzzDecode(f *testing.F) {
	for _, kind := range []string{"alias", "alias-domain", "mailbox", "domain"} {
		text, err := os.ReadFile("testdata/" + kind + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`[{"address":"@example.com","domain":"example.com","goto":"a@example.com,,@x","active":"1"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		aliases, err := decode[alias](text)
		if err != nil {
			return
		}
		d := &Directory{aliases: aliases, domains: []domain{{Name: "example.com", Active: number{true, 1}}},
			mailboxes: []mailbox{{"a@example.com", "example.com", number{true, 1}}}}
		if d.check() != nil {
			return
		}
		rules, _ := d.Rules()
		for _, rule := range rules {
			for _, address := range append(rule.Mailboxes, rule.Pattern) {
				if !writable(address) {
					t.Errorf("the rule %v has the address %q", rule, address)
				}
			}
		}
	})
}
