package main

import (
	"strings"
	"testing"
)

func TestParseTopics(t *testing.T) {
	const subscription = topicA + ":2bcfbf39-05c3-41de-beaa-fcfcc21c8f55"
	checkParser(t, parseTopics, append(bad[topics](
		"mail", "arn:aws:sqs:eu-west-1:123456789012:mail", "arn:aws:sns:eu-west-1:12345:mail", "arn:aws:sns::123456789012:mail",
		"arn:aws:sns:eu-west-1:123456789012:", "arn:aws:sns:eu-west-1:123456789012:a.b", "arn:aws:sns:eu-west-1:123456789012:ä", "ARN:aws:sns:eu-west-1:123456789012:mail",
		"arn:aws:sns:eu-west-1:123456789012:"+strings.Repeat("x", 257), topicA+";"+topicB, subscription, topicA+",mail"),
		good(topicA, topics{topicA}),
		good(" "+topicA+" ,\r\n\t"+topicB+",,", topics{topicA, topicB}),
		good(topicA+" "+topicB, topics{topicA, topicB}),
		good(topicA+"\n"+topicA+".fifo", topics{topicA, topicA + ".fifo"}),
		good("arn:aws-cn:sns:cn-north-1:123456789012:mail", topics{"arn:aws-cn:sns:cn-north-1:123456789012:mail"}),
		good("arn:aws:sns:eu-west-1:123456789012:"+strings.Repeat("x", 256), topics{"arn:aws:sns:eu-west-1:123456789012:" + strings.Repeat("x", 256)}),
		good(" , ", topics(nil)),
	)...)
	if _, err := parseTopics(subscription); !strings.Contains(text(err), "subscription") {
		t.Errorf("a subscription's ARN: %v", err)
	}
}

func TestParsePlaces(t *testing.T) {
	checkParser(t, parsePlaces, append(bad[places](
		"ab", "Mail", "mail_1", "-mail", "mail-", ".mail", "mail.", "ma..il", "192.168.5.4", "s3://mail", "s3:mail", "arn:aws:s3:::mail", "/mail", "mäil",
		strings.Repeat("x", 64), "mail/\x01", "mail/"+strings.Repeat("x", 1024), "mail,Mail"),
		good("mail", places{{"mail", ""}}),
		good("mail/", places{{"mail", ""}}),
		good("mail/in", places{{"mail", "in"}}),
		good("mail/in/box/", places{{"mail", "in/box/"}}),
		good("mail//in", places{{"mail", "/in"}}),
		good("mail/Grüße+1", places{{"mail", "Grüße+1"}}),
		good("a-b.c1, 2nd\n3rd/x", places{{"a-b.c1", ""}, {"2nd", ""}, {"3rd", "x"}}),
		good(strings.Repeat("x", 63), places{{strings.Repeat("x", 63), ""}}),
	)...)
}

func TestParseAfterDelivery(t *testing.T) {
	checkParser(t, parseAfterDelivery, append(bad[afterDelivery](
		"", "Keep", "keep:", "delete:x/", "tag:x/", "remove", "move", "move:", "move:/", "move:/done/", "move:done", "move:do\nne/", "encrypt:", "encrypt:/", "encrypt:/x/", "encrypt:x", "encrypt:x\x00/",
		"move:"+strings.Repeat("x", 511)+"/"),
		good("keep", afterDelivery{"keep", ""}),
		good("delete", afterDelivery{"delete", ""}),
		good("tag", afterDelivery{"tag", ""}),
		good("move:done/", afterDelivery{"move", "done/"}),
		good("move:a:b/c/", afterDelivery{"move", "a:b/c/"}),
		good("encrypt", afterDelivery{"encrypt", ""}),
		good("encrypt:old/", afterDelivery{"encrypt", "old/"}),
	)...)
}

func FuzzParsePlaces(f *testing.F) {
	for _, seed := range []string{"mail/in, other", "192.168.5.4", "a..b", "s3://x", "mail/\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parsePlaces(text)
		if err != nil {
			return
		}
		for _, p := range list {
			if again, err := parsePlace(p.bucket + "/" + p.prefix); err != nil || again != p {
				t.Errorf("%q: %+v, and that again is %+v, %v", text, p, again, err)
			}
		}
	})
}
