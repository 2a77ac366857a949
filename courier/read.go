package courier

import (
	"context"
	"errors"

	"github.com/homing-mail/homing/spool"
)

// grown is how often one message may turn out to need more memory than it was
// given: its object may be replaced by a larger one while it waits.
const grown = 4

// Read returns the message of an item, from the bucket or from the spool,
// decrypted where it is encrypted. Its errors are the source's; an item that has
// no message any more is a permanent one. The caller releases the object.
func Read(ctx context.Context, source Source, s *spool.Spool, item *spool.Item) (*Object, error) {
	var room int64
	for range grown {
		object, err := fetch(ctx, source, s, item, room)
		if err != nil || isCopy(item, object) {
			return object, err
		}
		err = source.Decrypt(ctx, item.Message, object)
		if err == nil {
			return object, nil
		}
		object.Release()
		if room = wanted(err); room == 0 {
			return nil, err
		}
	}
	return nil, errors.New("it needed more memory each time it was fetched")
}

// fetch returns what is stored of a message. room is the least that is reserved
// for it.
func fetch(ctx context.Context, source Source, s *spool.Spool, item *spool.Item, room int64) (*Object, error) {
	switch {
	case item.Inline && !item.Receipt:
		return nil, errNotMail // mail that comes inline comes with SES's receipt
	case !item.Inline && item.Bucket == "":
		return nil, errNoMessage
	case !item.Inline:
		return source.Fetch(ctx, item.Message, item.Lane, room)
	}
	memory, err := source.Reserve(ctx, item.Lane, max(item.Size, room))
	if err != nil {
		return nil, err
	}
	octets, err := s.Content(ctx, item.Number)
	if err != nil {
		memory.Release()
		return nil, err
	}
	return &Object{Octets: octets, Size: int64(len(octets)), Memory: memory}, nil
}

// isCopy reports whether the object is one that homing itself moved or wrote,
// and which is no news. The key to it may not be here.
func isCopy(item *spool.Item, object *Object) bool {
	return object.Own && !item.Receipt && item.Source != spool.SourceBackfill
}

// permanent is an error that holds the item.
type permanent string

func (p permanent) Error() string   { return string(p) }
func (p permanent) Permanent() bool { return true }

const (
	errNotMail   = permanent("this version of homing does not understand the notification; `homing queue show` prints it")
	errNoMessage = permanent("the message came inside its notification, was delivered, and is no longer here for this recipient")
)

// wanted is how much memory it would have taken; 0 where that is not the trouble.
func wanted(err error) int64 {
	if e, ok := errors.AsType[interface {
		error
		Room() int64
	}](err); ok {
		return e.Room()
	}
	return 0
}
