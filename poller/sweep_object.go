package poller

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

// Place is a bucket and the beginning of the keys that mail has in it.
type Place struct{ Bucket, Prefix string }

// Page is a part of a listing.
type Page struct {
	Objects []Object
	Time    time.Time // the store's when it answered
}

// Object is what a listing says of one object.
type Object struct {
	Bucket, Key string
	ETag        string
	Size        int64 // bytes
	Stored      time.Time
}

// Marks are what only a look at the object tells.
type Marks struct {
	Version  string // empty: the bucket has none
	Finished bool   // homing wrote the object itself, or marked it delivered
}

// kindObject is the kind of a message that no notification announced.
const kindObject = "object"

// setupName is the last segment of the key under which SES stores a message of
// its own when a receipt rule is made.
const setupName = "AMAZON_SES_SETUP_NOTIFICATION"

// IsMail reports whether the object may be mail: it is neither SES's test of a
// new receipt rule, nor the empty object that consoles make for a folder, nor
// what homing keeps for a moment.
func (o Object) IsMail() bool {
	return !notice.IsFolder(o.Key, o.Size) && !notice.IsAside(o.Key) && o.Key[strings.LastIndexByte(o.Key, '/')+1:] != setupName
}

// ID is the identity of the message in the object. Without the version it may
// be another's than the ledger has: see [Object.NeedsVersion].
func (o Object) ID(version string) string { return notice.MessageID(o.Bucket, o.Key, version) }

// NeedsVersion reports whether the identity depends on the object's version,
// where it has one.
func (o Object) NeedsVersion() bool { return o.ID("") != o.ID("1") }

// Arrival is the message of which nothing is known but where it lies: who sent
// it to whom is to be read in it.
func (o Object) Arrival(source, version string) spool.Arrival {
	return spool.Arrival{Message: spool.Message{
		ID: o.ID(version), Source: source, Kind: kindObject,
		Bucket: o.Bucket, Key: o.Key, Version: version, Size: o.Size,
	}}
}

// Outermost leaves out the places that lie within others, so that nothing is
// listed twice.
func Outermost(places []Place) []Place {
	sorted := slices.Clone(places)
	slices.SortFunc(sorted, func(a, b Place) int {
		return cmp.Or(strings.Compare(a.Bucket, b.Bucket), strings.Compare(a.Prefix, b.Prefix))
	})
	var outer []Place
	for _, p := range sorted {
		// What p lies within comes before it, and of that the last one kept.
		if n := len(outer); n == 0 || outer[n-1].Bucket != p.Bucket || !strings.HasPrefix(p.Prefix, outer[n-1].Prefix) {
			outer = append(outer, p)
		}
	}
	return outer
}
