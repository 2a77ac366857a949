package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// demoMail is one mail of the demo.
type demoMail struct {
	what      string
	octets    []byte
	signature string // the SNS signature version that announces it
	inline    bool   // it comes inside its notification
}

// demoID is the id that SES gives a mail of the demo.
func demoID(number int) string { return fmt.Sprintf("demo%032d", number) }

// demoMails are mails of the sorts that break things.
func demoMails(to string) []demoMail {
	mail := func(number int, signature, what, subject, header, body string) demoMail {
		text := "Return-Path: <friend@example.org>\n" +
			"Received: from mail.example.org (mail.example.org [192.0.2.25]) by inbound-smtp.us-east-1.amazonaws.com with SMTP id " +
			demoID(number) + " for " + to + "; " + time.Now().UTC().Format(time.RFC1123Z) + "\n" +
			"From: A friend <friend@example.org>\nTo: " + to + "\nSubject: " + subject + "\n" +
			"Date: " + time.Now().UTC().Format(time.RFC1123Z) + "\nMessage-ID: <" + demoID(number) + "@example.org>\n" +
			"MIME-Version: 1.0\n" + header + "\n" + body
		return demoMail{what: what, signature: signature, octets: []byte(strings.ReplaceAll(text, "\n", "\r\n"))}
	}
	photo := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x89PNG not really a picture \x00\xff", 600)))
	inline := mail(5, "2", "A short mail inside its notification (SES's SNS action)", "No bucket needed",
		"Content-Type: text/plain; charset=us-ascii\n", "Delivered without S3.\n")
	inline.inline = true
	return []demoMail{
		mail(0, "1", "A plain mail", "Welcome home", "Content-Type: text/plain; charset=us-ascii\n",
			"It works.\n\n.\nThat line with a dot ends nothing.\n"),
		mail(1, "2", "A mail with an attachment", "A photo",
			"Content-Type: multipart/mixed; boundary=frontier\n",
			"--frontier\nContent-Type: text/plain\n\nHere it is.\n--frontier\nContent-Type: image/png\n"+
				"Content-Disposition: attachment; filename=photo.png\nContent-Transfer-Encoding: base64\n\n"+fold(photo)+"--frontier--\n"),
		mail(2, "2", "UTF-8 in header and body", "Grüße aus Zürich ✉", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n",
			"Schöne Grüße, かしこ, 🕊\n"),
		mail(3, "2", "Octets that are no UTF-8", "Latin-1", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n",
			"Gr\xfc\xdfe \xff\xfe\n"),
		mail(4, "2", "A large mail", "Two megabytes", "Content-Type: text/plain; charset=us-ascii\n",
			strings.Repeat("Seventy-one characters of text and a line end, again and again, ok...\n", 2<<20/71)),
		inline,
	}
}

// fold breaks base64 into lines as MIME wants them.
func fold(text string) string {
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	return b.String() + text + "\n"
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

func localOf(address string) string {
	local, _, _ := strings.Cut(strings.ToLower(address[:max(strings.LastIndexByte(address, '@'), 0)]), "+")
	return local
}
