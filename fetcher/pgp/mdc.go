package pgp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	prefixSize = aes.BlockSize + 2 // random octets, of which the last two are repeated
	mdcSize    = 2 + sha1.Size     // header and body of the modification detection code
	mdcHeader  = "\xd3\x14"
)

var errMDC = errors.New("the modification detection code does not match")

// openMDC decrypts the data of a version 1 packet (RFC 9580 5.13.1), AES in CFB
// mode and SHA-1, into the beginning of memory, from whose later part data may
// read. It returns the plaintext, when it is unchanged.
//
// The library does the same octet by octet, in more than one and a half times the time.
func openMDC(data io.Reader, block cipher.Block, memory []byte) (plaintext []byte, err error) {
	var last [aes.BlockSize]byte // block of ciphertext, the IV is zero
	sum, hashed, n := sha1.New(), 0, 0
	ciphertext, stream := make([]byte, window), make([]byte, window)
	for {
		size, err := io.ReadFull(data, ciphertext)
		atEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEnd {
			return nil, err
		}
		if size > len(memory)-n {
			return nil, io.ErrShortBuffer
		}
		keystream(stream, block, last[:], ciphertext[:size])
		n += subtle.XORBytes(memory[n:], ciphertext[:size], stream)
		copy(last[:], ciphertext[max(0, size-aes.BlockSize):size])
		if until := n - mdcSize; until > hashed {
			sum.Write(memory[hashed:until])
			hashed = until
		}
		if atEnd {
			break
		}
	}
	if n < prefixSize+mdcSize {
		return nil, errMDC
	}
	sum.Write([]byte(mdcHeader))
	want := append([]byte(mdcHeader), sum.Sum(nil)...)
	if subtle.ConstantTimeCompare(want, memory[n-mdcSize:n]) != 1 {
		return nil, errMDC
	}
	return memory[prefixSize : n-mdcSize], nil
}

// keystream is what CFB mode adds to ciphertext: the encryption of the block
// before each block, of which last is the one before them all.
func keystream(stream []byte, block cipher.Block, last, ciphertext []byte) {
	for i := 0; i < len(ciphertext); i += aes.BlockSize {
		block.Encrypt(stream[i:i+aes.BlockSize], last)
		last = ciphertext[i:min(i+aes.BlockSize, len(ciphertext))]
	}
}

// sealMDC appends to before the packet that openMDC decrypts, with a literal
// packet of these parts in it.
func sealMDC(before []byte, block cipher.Block, parts [][]byte) ([]byte, error) {
	const (
		version       = 1
		literalHeader = "b\x00\x00\x00\x00\x00" // binary, without name and date
		headers       = 2 * 6
	)
	size := int64(len(literalHeader))
	for _, part := range parts {
		size += int64(len(part))
	}
	whole := size + 6 + prefixSize + mdcSize + 1
	if whole > math.MaxUint32 {
		return nil, fmt.Errorf("encrypt: %d bytes are more than a packet holds", size)
	}
	out := make([]byte, 0, int64(len(before))+headers+whole)
	out = append(out, before...)
	out = append(binary.BigEndian.AppendUint32(append(out, 0xc0|tagProtected, 255), uint32(whole)), version)
	start := len(out)
	out = out[:start+prefixSize]
	rand.Read(out[start : start+aes.BlockSize]) // never fails
	copy(out[start+aes.BlockSize:], out[start+aes.BlockSize-2:start+aes.BlockSize])
	out = binary.BigEndian.AppendUint32(append(out, 0xc0|tagLiteral, 255), uint32(size))
	out = append(out, literalHeader...)
	for _, part := range parts {
		out = append(out, part...)
	}
	out = append(out, mdcHeader...)
	sum := sha1.Sum(out[start:])
	out = append(out, sum[:]...)
	encryptCFB(block, out[start:])
	return out, nil
}

// encryptCFB encrypts in place, with an IV of zero.
func encryptCFB(block cipher.Block, octets []byte) {
	var stream [aes.BlockSize]byte
	last := stream[:]
	for len(octets) > 0 {
		block.Encrypt(stream[:], last)
		n := subtle.XORBytes(octets, octets, stream[:])
		last, octets = octets[:n], octets[n:]
	}
}

// aesOf returns the cipher of a session key, and nil if it is not AES.
func aesOf(function packet.CipherFunction, key []byte) cipher.Block {
	switch function {
	case packet.CipherAES128, packet.CipherAES192, packet.CipherAES256:
		if block, err := aes.NewCipher(key); err == nil && len(key) == function.KeySize() {
			return block
		}
	}
	return nil
}
