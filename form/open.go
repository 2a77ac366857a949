package form

import "fmt"

// open takes the message out of its armor: all that is left of the body are
// packets that only the keys' owner can read. Its errors are refusals.
func (h *receiver) open(body []byte) (*sealed, error) {
	octets, err := unarmor(body)
	if err != nil {
		return nil, malformed("not_openpgp", err.Error()+": send it alone, from -----BEGIN PGP MESSAGE----- to -----END PGP MESSAGE-----")
	}
	message, err := parse(octets)
	if err != nil {
		return nil, malformed("not_openpgp", err.Error())
	}
	for _, id := range message.recipients {
		if !h.keys[id] {
			return nil, malformed("wrong_key", wrongKey(id))
		}
	}
	return message, nil
}

// wrongKey tells the owner of the page what to do. A hidden recipient is refused
// because nobody here can tell whether it is the right one.
func wrongKey(id uint64) string {
	const mend = "; the page needs the public key that HOMING_FORM_KEY has, and no other"
	if id == 0 {
		return "encrypted to a recipient that the message hides" + mend
	}
	return fmt.Sprintf("encrypted to the key %016X, which is not the expected one", id) + mend
}
