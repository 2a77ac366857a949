package edge_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
)

// letter is what a mail program shows once it has decrypted a mail.
type letter struct {
	outer       mail.Header // of the mail, readable by everybody
	inner       mail.Header // of the encrypted entity
	subject     string
	replyTo     *mail.Address // nil: none
	text        string
	attachments []attachment
}

type attachment struct {
	name, kind string
	octets     []byte
}

// read opens a mail as RFC 3156 has it, with gpg.
func (h *home) read(tb testing.TB, raw []byte) letter {
	tb.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/encrypted" || params["protocol"] != "application/pgp-encrypted" {
		tb.Fatalf("Content-Type: %q", message.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	control, data := nextPart(tb, parts), nextPart(tb, parts)
	if control.kind != "application/pgp-encrypted" || strings.TrimSpace(string(control.octets)) != "Version: 1" {
		tb.Errorf("the first part is %s: %q", control.kind, control.octets)
	}
	if data.kind != "application/octet-stream" {
		tb.Errorf("the second part is %s", data.kind)
	}
	entity := h.gpg.Run(tb, data.octets, "--decrypt")
	l := readEntity(tb, entity)
	l.outer = message.Header
	return l
}

// readEntity takes apart what was inside the encryption.
func readEntity(tb testing.TB, entity []byte) (l letter) {
	tb.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(entity))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, entity)
	}
	l.inner = message.Header
	kind, params, err := mime.ParseMediaType(l.inner.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["protected-headers"] != "v1" {
		tb.Fatalf("Content-Type: %q, %v", l.inner.Get("Content-Type"), err)
	}
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(l.inner.Get("Subject")); err != nil {
		tb.Fatal(err)
	}
	if l.inner.Get("Reply-To") != "" {
		if l.replyTo, err = mail.ParseAddress(l.inner.Get("Reply-To")); err != nil {
			tb.Fatalf("Reply-To: %q: %v", l.inner.Get("Reply-To"), err)
		}
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	text := nextPart(tb, parts)
	if text.kind != "text/plain" {
		tb.Errorf("the first part is %s", text.kind)
	}
	l.text = string(text.octets)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return l
		}
		if err != nil {
			tb.Fatal(err)
		}
		l.attachments = append(l.attachments, readPart(tb, part))
	}
}

func nextPart(tb testing.TB, parts *multipart.Reader) attachment {
	tb.Helper()
	part, err := parts.NextRawPart()
	if err != nil {
		tb.Fatal(err)
	}
	return readPart(tb, part)
}

func readPart(tb testing.TB, part *multipart.Part) (a attachment) {
	tb.Helper()
	var body io.Reader = part
	switch part.Header.Get("Content-Transfer-Encoding") {
	case "quoted-printable":
		body = quotedprintable.NewReader(part)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, part)
	}
	var err error
	if a.octets, err = io.ReadAll(body); err != nil {
		tb.Fatal(err)
	}
	if a.kind, _, err = mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil {
		tb.Fatal(err)
	}
	if disposition := part.Header.Get("Content-Disposition"); disposition != "" {
		_, params, err := mime.ParseMediaType(disposition)
		if err != nil {
			tb.Fatalf("Content-Disposition: %q: %v", disposition, err)
		}
		a.name = params["filename"]
	}
	return a
}

// given is a letter as form/mime.js takes it.
type given struct {
	Letter struct {
		Subject string      `json:"subject"`
		Name    string      `json:"name"`
		Address string      `json:"address"`
		Lines   [][2]string `json:"lines"`
		Text    string      `json:"text"`
	} `json:"letter"`
	Attachments []map[string]any `json:"attachments"`
}

// compose has form/mime.js compose letters, and checks what holds for all mail.
func compose(tb testing.TB, letters ...given) (entities [][]byte) {
	tb.Helper()
	in, err := json.Marshal(letters)
	if err != nil {
		tb.Fatal(err)
	}
	out := deno(tb, ".", string(in), "run", "--no-prompt", "testdata/compose.js")
	if err := json.Unmarshal([]byte(out), &entities); err != nil {
		tb.Fatal(err)
	}
	for _, entity := range entities {
		for line := range strings.SplitSeq(string(entity), "\r\n") {
			if len(line) > 78 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
				tb.Errorf("a line that mail does not allow: %q", line)
			}
		}
	}
	return entities
}

func TestLetters(t *testing.T) {
	everyOctet := make([]byte, 256)
	for i := range everyOctet {
		everyOctet[i] = byte(i)
	}
	long := strings.Repeat("Grüße 🐦 = ", 200)
	texts := []string{
		"", "x", "Grüße! 🐦 ąść 你好", long, " leading", "trailing \t", "a\nb\n\nc\n", "From here\n.\n..\n--=_\n-- \n=3D",
		"a\tb \nc\t\n", "\u2028\u0000\u0007", strings.Repeat("x", 75) + "\n" + strings.Repeat("x", 76), strings.Repeat("ü", 26), "\u202eabc",
	}
	lines := []string{
		"", "Zoë Müller", `Zoe "the bird" O\Neil`, "Müller, Zoë", strings.Repeat("Zoë", 60), "=?UTF-8?Q?x?=", strings.Repeat("x", 100),
		"x\r\nBcc: everybody@home.test", "a\u2028b", "  spaces  ", "😀" + strings.Repeat("x", 70), "\r\n\r\n", "<script>",
	}
	names := []string{
		"plain.txt", "with space.pdf", "Grüße 🐦.pdf", strings.Repeat("long", 40) + ".txt", `quo"te\.txt`, "../../etc/passwd",
		"x\r\nContent-Type: text/html", "per%cent;semi.txt", "",
	}
	wantNames := []string{
		"plain.txt", "with space.pdf", "Grüße 🐦.pdf", strings.Repeat("long", 40) + ".txt", `quo"te_.txt`, ".._.._etc_passwd",
		"x Content-Type: text_html", "per%cent;semi.txt", "attachment",
	}
	kinds := map[string]string{
		"application/pdf": "application/pdf", "": "application/octet-stream", "message/rfc822": "application/octet-stream",
		"multipart/mixed": "application/octet-stream", "text/html; charset=x\r\nX: y": "application/octet-stream", "image/svg+xml": "image/svg+xml",
	}
	var letters []given
	for _, text := range texts {
		var g given
		g.Letter.Subject, g.Letter.Text = "subject", text
		letters = append(letters, g)
	}
	for _, line := range lines {
		var g given
		g.Letter.Subject, g.Letter.Name, g.Letter.Address = line, line, "zoe@example.org"
		g.Letter.Lines, g.Letter.Text = [][2]string{{"Name", line}}, "text"
		letters = append(letters, g)
	}
	var attached given
	for _, name := range names {
		attached.Attachments = append(attached.Attachments, map[string]any{"name": name, "type": "text/plain", "octets": everyOctet})
	}
	for kind := range kinds {
		attached.Attachments = append(attached.Attachments, map[string]any{"name": "x", "type": kind, "octets": []byte(nil)})
	}
	entities := compose(t, append(letters, attached)...)

	for i, text := range texts {
		got := readEntity(t, entities[i])
		want := strings.ReplaceAll(text, "\n", "\r\n")
		if got.text != want || got.replyTo != nil || len(got.attachments) != 0 {
			t.Errorf("text %q became %+v", text, got)
		}
	}
	for i, line := range lines {
		got := readEntity(t, entities[len(texts)+i])
		want := strings.TrimSpace(strings.NewReplacer("\r\n", " ", "\u2028", " ").Replace(line))
		if got.subject != want || got.text != "Name: "+want+"\r\n\r\ntext" || got.replyTo == nil ||
			got.replyTo.Name != want || got.replyTo.Address != "zoe@example.org" || len(got.inner) > 3 {
			t.Errorf("line %q became %+v, %+v", line, got, got.replyTo)
		}
	}
	got := readEntity(t, entities[len(entities)-1])
	for i, want := range wantNames {
		if a := got.attachments[i]; a.name != want || a.kind != "text/plain" || !bytes.Equal(a.octets, everyOctet) {
			t.Errorf("attachment %q became %q, %s, %d octets", names[i], a.name, a.kind, len(a.octets))
		}
	}
	for i, a := range got.attachments[len(names):] {
		kind := attached.Attachments[len(names)+i]["type"].(string)
		if a.kind != kinds[kind] || len(a.octets) != 0 {
			t.Errorf("type %q became %q", kind, a.kind)
		}
	}
}

// An address that is none, or that needs more than ASCII, stands in the text alone.
func TestAddressesThatCannotBeAnsweredTo(t *testing.T) {
	addresses := []string{"", "zoe", "zoe@", "a b@example.org", "zoe@example.org, everybody@home.test", "zoë@example.org",
		"zoe@example.org\r\nBcc: x@home.test", "<zoe@example.org>", "zoe@example.org>"}
	var letters []given
	for _, address := range addresses {
		var g given
		g.Letter.Subject, g.Letter.Address = "s", address
		letters = append(letters, g)
	}
	for i, entity := range compose(t, letters...) {
		if got := readEntity(t, entity); got.replyTo != nil || len(got.inner) != 2 {
			t.Errorf("address %q became %v", addresses[i], got.inner)
		}
	}
}
