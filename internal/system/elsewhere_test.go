package system

import (
	"testing"

	"github.com/homing-mail/homing/internal/snstest"
)

// A message was found by itself and delivered to the one recipient that it
// names; then something encrypted it elsewhere, as contrib/lambda does when it is
// late, and announced it with all its recipients.
func TestAnnouncedElsewhere(t *testing.T) {
	t.Parallel()
	c := newCloud(t, "HOMING_BUCKETS", bucket+"/in/ "+bucket+"/encrypted/")
	id, message := newID(), received(address("alice"), "ann@far.test")
	c.put("in/"+id, message)
	c.notify(snstest.S3Event(snstest.Object{Bucket: bucket, Key: "in/" + id}))
	c.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
	c.remove("in/" + id)
	c.put("encrypted/"+id, message)
	c.notify(snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "ann@far.test",
		Recipients: []string{address("alice"), address("bob")}, Bucket: bucket, Prefix: "encrypted/"}))
	c.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
	c.sink.expect(t, message, message)
}

// A message that homing has moved is announced again and again, each time with
// one more recipient, where it does not lie any more.
func TestAnnouncedWhereItLay(t *testing.T) {
	t.Parallel()
	c := newCloud(t, "HOMING_BUCKETS", bucket+"/in/ "+bucket+"/done/", "HOMING_AFTER_DELIVERY", "move:done/", "HOMING_AFTER_DELIVERY_DELAY", "0")
	id, message := newID(), received(address("alice"), "ann@far.test")
	c.put("in/"+id, message)
	var want [][]byte
	for _, name := range []string{"alice", "bob", "carol"} {
		c.notify(snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "ann@far.test",
			Recipients: []string{address(name)}, Bucket: bucket, Prefix: "in/"}))
		c.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
		want = append(want, message)
	}
	c.sink.expect(t, want...)
}
