package pgp

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/usage"
)

// random is what does not compress, as most of large mail.
func random(size int) []byte {
	octets := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(octets)
	return octets
}

// attachment is what most of large mail is, and loses a quarter when compressed.
func attachment(size int) []byte {
	text := make([]byte, 0, size+78)
	for octets := random(size); len(text) < size; octets = octets[57:] {
		text = append(base64.StdEncoding.AppendEncode(text, octets[:57]), "\r\n"...)
	}
	return text[:size]
}

// BenchmarkGnuPG measures Decrypt, of an object in memory, against gpg --decrypt
// of a file in the page cache to /dev/null:
//
//	go test -run '^$' -bench GnuPG -benchtime 15x ./fetcher/pgp
//
// Each iteration is a pair of runs, which goes first alternating. The ratio of a
// pair is homing's rate by gpg's: "ratio" is the median over the pairs, and
// "cpu-ratio" the same of processor time, which other work on the machine
// disturbs less. Rates are medians of plaintext; gpg's has its start in it,
// hence the larger sizes.
func BenchmarkGnuPG(b *testing.B) {
	stored := []string{"--compress-algo", "none"}
	ocb := append([]string{"--compliance", "gnupg", "--force-ocb"}, stored...)
	for _, version := range gnupg.Versions() {
		b.Run(string(version), func(b *testing.B) {
			home := gnupg.New(b, version)
			id := home.Key(b, "me@example.com", "ed25519", "cv25519", "")
			keys, err := ReadKeys(home.Run(b, nil, "--export-secret-keys", id), "")
			if err != nil {
				b.Fatal(err)
			}
			for _, kind := range []struct {
				name string
				mega int
				only gnupg.Version
				args []string
			}{
				{"binary", 20, "", stored},
				{"armored", 20, "", append([]string{"--armor"}, stored...)},
				{"compressed", 20, "", nil}, // as gpg does unless it is told not to
				{"compressed-pipe", 20, "", nil},
				{"ocb", 20, gnupg.V24, ocb},
				{"binary", 200, "", stored},
				{"armored", 200, "", append([]string{"--armor"}, stored...)},
				{"ocb", 200, gnupg.V24, ocb},
			} {
				if kind.only != "" && kind.only != version {
					continue
				}
				size := kind.mega << 20
				plain, input, name := random(size), []byte(nil), home.Path("plain")
				if strings.HasPrefix(kind.name, "compressed") {
					plain = attachment(size)
				}
				if strings.HasSuffix(kind.name, "pipe") { // gpg does not know the length when it begins
					input, name = plain, "-"
				}
				home.File(b, "plain", plain)
				home.Run(b, input, append(kind.args, "--recipient", id, "--output", home.Path("sealed"), "--encrypt", name)...)
				b.Run(fmt.Sprintf("%s/%dMiB", kind.name, kind.mega), func(b *testing.B) { against(b, home, keys, size) })
			}
		})
	}
}

// against runs both on the file "sealed" in home.
func against(b *testing.B, home *gnupg.Home, keys *Keys, size int) {
	sealed, err := os.ReadFile(filepath.Join(home.Dir, "sealed"))
	if err != nil {
		b.Fatal(err)
	}
	octets := make([]byte, len(sealed))
	ours := func() {
		if _, err := keys.Decrypt(octets, int64(size), nil); err != nil {
			b.Fatal(err)
		}
	}
	theirs := func() { home.Run(b, nil, "--output", "/dev/null", "--decrypt", home.Path("sealed")) }
	var ratios, cpuRatios, our, their []float64
	for i := 0; b.Loop(); i++ {
		copy(octets, sealed)
		var o, t cost
		if i%2 == 0 {
			o, t = measure(b, usage.Self, ours), measure(b, usage.Children, theirs)
		} else {
			t, o = measure(b, usage.Children, theirs), measure(b, usage.Self, ours)
		}
		ratios = append(ratios, t.wall/o.wall)
		cpuRatios = append(cpuRatios, t.cpu/o.cpu)
		our = append(our, float64(size)/1e6/o.wall)
		their = append(their, float64(size)/1e6/t.wall)
	}
	sample.ReportRatios(b, ratios)
	b.ReportMetric(sample.Median(cpuRatios), "cpu-ratio")
	b.ReportMetric(sample.Median(our), "homing-MB/s")
	b.ReportMetric(sample.Median(their), "gpg-MB/s")
}

// cost is in seconds.
type cost struct{ wall, cpu float64 }

func measure(b *testing.B, used func(testing.TB) time.Duration, f func()) cost {
	b.Helper()
	start, before := time.Now(), used(b)
	f()
	return cost{time.Since(start).Seconds(), (used(b) - before).Seconds()}
}

// BenchmarkDecrypt is what profiles are taken of.
func BenchmarkDecrypt(b *testing.B) {
	keys, to := pair(b)
	message := sealed(b, to, random(20<<20))
	b.SetBytes(20 << 20)
	octets := make([]byte, len(message))
	for b.Loop() {
		copy(octets, message)
		if _, err := keys.Decrypt(octets, 20<<20, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	_, to := pair(b)
	plaintext := bytes.Repeat(random(1<<20), 20)
	b.SetBytes(20 << 20)
	b.ReportAllocs()
	for b.Loop() {
		sealed(b, to, plaintext)
	}
}
