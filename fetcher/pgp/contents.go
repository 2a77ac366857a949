package pgp

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
)

// slack is how much compressed data may hold beside the plaintext: signatures,
// and the lengths of parts.
const slack = 1 << 20

// contents finds the plaintext in what a message encrypts, which has passed its
// integrity check.
type contents struct {
	limit   int64 // bytes of plaintext
	reserve func(int64) error
}

// literal returns the data of the one literal packet that plain holds, bare,
// signed or compressed. Compressed data get memory of their own, of just their
// size; others are moved to the beginning of plain.
func (c contents) literal(plain []byte) (data []byte, err error) {
	err = walk(bytes.NewReader(plain), func(p *rawPacket) (err error) {
		if p.tag == tagLiteral {
			data, err = c.move(p, plain)
		} else {
			data, err = c.decompress(p, plain)
		}
		return err
	})
	if err != nil {
		return nil, asMalformed(err)
	}
	return data, nil
}

// walk reads packets to their end, and has take read the one with the data.
func walk(r io.Reader, take func(*rawPacket) error) error {
	in, found := bufio.NewReader(r), false
	for {
		p, err := nextPacket(in)
		switch {
		case errors.Is(err, io.EOF) && !found:
			return failed(malformed, "there are no data in it")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch tag := p.tag; {
		case tag == tagLiteral || tag == tagCompressed:
			if found {
				return failed(malformed, "there is more than one message in it")
			}
			found = true
			if err := take(p); err != nil {
				return err
			}
		case tag == tagKey || tag == tagPassword || tag == tagUnproven || tag == tagProtected || tag == tagOCB:
			return failed(unsupported, "it is encrypted twice")
		case tag == tagSignature || tag == tagOnePass || p.meaningless():
		default:
			return failed(malformed, "a packet of type %d stands beside its data", tag)
		}
		if err := p.skip(); err != nil {
			return err
		}
	}
}

// move moves the data of a literal packet to the beginning of plain, where it
// lies itself.
func (c contents) move(p *rawPacket, plain []byte) ([]byte, error) {
	if err := skipLiteralHeader(p); err != nil {
		return nil, err
	}
	n, err := gather(p, plain)
	if err != nil {
		return nil, err
	}
	return plain[:n:n], c.fits(int64(n))
}

func (c contents) fits(n int64) error {
	if n > c.limit {
		return failed(tooLarge, "its plaintext is larger than %d bytes", c.limit)
	}
	return nil
}

// gather reads the body of a packet into the beginning of the memory that it is
// read from, which its header is enough to keep apart.
func gather(p *rawPacket, memory []byte) (n int, err error) {
	for {
		read, err := p.Read(memory[n:])
		n += read
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// skipLiteralHeader skips format, name and date (RFC 9580 5.9).
func skipLiteralHeader(p *rawPacket) error {
	var fixed [2]byte
	if _, err := io.ReadFull(p, fixed[:]); err != nil {
		return cutOff(err)
	}
	_, err := io.CopyN(io.Discard, p, int64(fixed[1])+4)
	return cutOff(err)
}

// decompress returns the literal data in a compressed packet, which lies in
// plain. Where the length of these is not written before them, they are
// decompressed twice: to learn it, and to have them. Memory that grows would at
// times be needed twice.
func (c contents) decompress(p *rawPacket, plain []byte) (data []byte, err error) {
	n, err := gather(p, plain)
	if err != nil {
		return nil, err
	}
	size := int64(-1)
	for data == nil && err == nil {
		var r io.Reader
		if r, err = decompressor(plain[:n]); err != nil {
			return nil, err
		}
		err = walk(&capped{r, c.limit + slack, c}, func(p *rawPacket) (err error) {
			data, size, err = c.take(p, size)
			return err
		})
	}
	return data, err
}

// take reads the data of a literal packet of this size, or finds out the size
// if that is negative and the packet does not tell.
func (c contents) take(p *rawPacket, size int64) ([]byte, int64, error) {
	if p.tag != tagLiteral {
		return nil, 0, failed(unsupported, "it is compressed twice")
	}
	if err := skipLiteralHeader(p); err != nil {
		return nil, 0, err
	}
	known := size >= 0
	if !known {
		size, known = p.length()
	}
	if !known {
		size, err := io.Copy(io.Discard, p)
		return nil, size, err
	}
	if err := c.fits(size); err != nil {
		return nil, 0, err
	}
	if c.reserve != nil {
		if err := c.reserve(size); err != nil {
			return nil, 0, refusal{err}
		}
	}
	data := make([]byte, size)
	_, err := io.ReadFull(p, data)
	return data, size, err
}

// decompressor returns the reader of a compressed packet's body (RFC 9580 5.6).
func decompressor(body []byte) (io.Reader, error) {
	r := bytes.NewReader(body)
	algorithm, err := r.ReadByte()
	if err != nil {
		return nil, cutOff(err)
	}
	switch algorithm {
	case 0:
		return r, nil
	case 1:
		return flate.NewReader(r), nil
	case 2:
		return zlib.NewReader(r)
	case 3:
		return bzip2.NewReader(r), nil
	}
	return nil, failed(unsupported, "it is compressed with an unknown algorithm, number %d", algorithm)
}

// capped ends with an error after so many bytes.
type capped struct {
	io.Reader
	left int64
	c    contents
}

func (r *capped) Read(b []byte) (n int, err error) {
	n, err = r.Reader.Read(b[:min(int64(len(b)), r.left+1)])
	if r.left -= int64(n); r.left < 0 {
		return 0, r.c.fits(r.c.limit + 1)
	}
	return n, err
}
