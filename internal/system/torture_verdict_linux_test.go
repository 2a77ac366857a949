package system

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// tortureDelivery is one message for one mailbox.
type tortureDelivery struct {
	n       int
	mailbox string
}

// verdict is what became of it all.
type verdict struct{ deliveries, copies, duplicates, held, lost int }

// judge compares every mailbox with all that was acknowledged: nothing may be
// lost or altered, and nothing held but what has to be.
func (tt *torture) judge(sent int) (v verdict) {
	tt.t.Helper()
	copies := tt.collect(&v, sent)
	held := tt.held()
	v.held = len(held)
	for n := range sent {
		p := newParcel(tt.seed, n)
		reason, isHeld := held[p.id]
		if wants := len(p.mailboxes) == 0; isHeld != wants || isHeld && reason == "" {
			tt.t.Errorf("message %d (%s) is held: %t, want %t; the reason is %q", n, p.id, isHeld, wants, reason)
		}
		for _, mailbox := range p.mailboxes {
			v.deliveries++
			one := tortureDelivery{n, mailbox}
			if copies[one] == 0 {
				v.lost++
				tt.t.Errorf("message %d (%s) for %s was acknowledged and is lost:%s", n, p.id, mailbox, tt.story(n, p.id, mailbox))
			}
			v.duplicates += max(copies[one]-1, 0)
			delete(copies, one)
		}
	}
	for stray, times := range copies {
		tt.t.Errorf("message %d came to %s %d times, where nobody sent it", stray.n, stray.mailbox, times)
	}
	return v
}

// collect reads all mailboxes, and checks every copy octet for octet.
func (tt *torture) collect(v *verdict, sent int) map[tortureDelivery]int {
	tt.t.Helper()
	copies := map[tortureDelivery]int{}
	ids := map[string]tortureDelivery{} // by X-Homing-Id
	for _, user := range crowd {
		mailbox := tt.dovecot.Mailbox(tt.t, address(user), "INBOX")
		if tt.beside != nil {
			tt.beside.judge(user, mailbox)
			mailbox = slices.DeleteFunc(mailbox, isOther)
		}
		for _, raw := range mailbox {
			v.copies++
			a := open(tt.t, raw)
			n := numbered(a.message)
			if n < 0 || n >= sent {
				tt.t.Errorf("%s holds what nobody sent: %.300q", user, raw)
				continue
			}
			p, one := newParcel(tt.seed, n), tortureDelivery{n, a.mailbox}
			sameMessage(tt.t, a.message, p.want)
			if a.sender != p.sender {
				tt.t.Errorf("message %d came from <%s>, want <%s>", n, a.sender, p.sender)
			}
			if other, known := ids[a.id]; known && other != one {
				tt.t.Errorf("%v and %v have the same X-Homing-Id %s", one, other, a.id)
			}
			if copies[one]++; copies[one] == 2 {
				tt.t.Logf("message %d (%s) for %s came twice, X-Homing-Id %s:%s", n, p.id, a.mailbox, a.id, tt.story(n, p.id, a.mailbox))
			}
			ids[a.id] = one
		}
	}
	tt.sameIDs(copies, ids)
	return copies
}

// story is what every homing said of a message, and what Dovecot said of it and
// of its mailbox until it came the second time.
func (tt *torture) story(n int, id, mailbox string) string {
	tt.t.Helper()
	var lines []string
	for i, run := range tt.runs {
		for line := range strings.Lines(string(run.log.all())) {
			if strings.Contains(line, id) {
				lines = append(lines, fmt.Sprintf("run %d: %s", i, line))
			}
		}
	}
	log := slices.Collect(strings.Lines(tt.replicas[0].readDovecot("dovecot.log")))
	user := "lmtp(" + withoutDetail(mailbox) + ")"
	mentions := func(line string) bool {
		return strings.Contains(line, fmt.Sprintf("<t-%d@", n)) && strings.Contains(line, user)
	}
	first := slices.IndexFunc(log, mentions)
	if first < 0 {
		first = len(log)
	}
	log = log[first:]
	for seen := 0; len(log) > 0 && seen < 2; log = log[1:] {
		if mentions(log[0]) {
			seen++
		}
		if strings.Contains(log[0], user) || !strings.Contains(log[0], "lmtp(") {
			lines = append(lines, log[0])
		}
	}
	return "\n" + strings.Join(lines[:min(len(lines), 80)], "")
}

// withoutDetail is the user whose mailbox it is.
func withoutDetail(mailbox string) string {
	local, _, _ := strings.Cut(mailbox, "@")
	name, _, _ := strings.Cut(local, "+")
	return address(name)
}

// sameIDs checks that all copies of one delivery have one X-Homing-Id, by which
// Dovecot can tell them.
func (tt *torture) sameIDs(copies map[tortureDelivery]int, ids map[string]tortureDelivery) {
	tt.t.Helper()
	if len(copies) != len(ids) {
		tt.t.Errorf("%d deliveries have %d different X-Homing-Ids", len(copies), len(ids))
	}
}

// numbered is the number of a message, -1 where it has none.
func numbered(message []byte) int {
	found := subject.FindSubmatch(message)
	if found == nil {
		return -1
	}
	number, ours := strings.CutPrefix(string(found[1]), "t-")
	if n, err := strconv.Atoi(number); ours && err == nil {
		return n
	}
	return -1
}

// held is why each held message is, by its id, over all replicas.
func (tt *torture) held() map[string]string {
	tt.t.Helper()
	reasons := map[string]string{}
	for _, r := range tt.replicas {
		for _, it := range r.queue("--state", "held") {
			reasons[it.ID] = it.Reason
		}
	}
	return reasons
}

// unfinished is how many messages the replicas have something left to do with,
// one at least where a replica does not say.
func (tt *torture) unfinished() (n int) {
	for _, r := range tt.replicas {
		for _, state := range []string{"due", "waiting", "active"} {
			count, err := r.metric(`homing_messages{state="` + state + `"}`)
			if err != nil {
				count = 1
			}
			n += int(count)
		}
	}
	return n
}

// pending lists some of them.
func (tt *torture) pending() string {
	tt.t.Helper()
	var all strings.Builder
	for _, r := range tt.replicas {
		_, text, _ := command(tt.t, r.env, "queue", "list", "--state", "pending", "--limit", "5")
		all.WriteString("\n" + text)
	}
	return all.String()
}
