package kms

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/amazon-s3-encryption-client-go/v3/client"
	"github.com/aws/amazon-s3-encryption-client-go/v3/commitment"
	"github.com/aws/amazon-s3-encryption-client-go/v3/materials"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/moto"
)

// stored answers a GET with one object, as S3 would, without a network.
type stored struct {
	metadata map[string]string
	octets   []byte
}

func (s stored) Do(*http.Request) (*http.Response, error) {
	header := http.Header{"Content-Length": {strconv.Itoa(len(s.octets))}}
	for name, value := range s.metadata {
		header.Set("x-amz-meta-"+name, value)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, ContentLength: int64(len(s.octets)), Body: io.NopCloser(bytes.NewReader(s.octets))}, nil
}

func (s stored) client() *s3.Client {
	return s3.New(s3.Options{Region: "us-east-1", HTTPClient: s, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// official reads an object with AWS's own client, as SES's objects need it set.
func official(tb testing.TB, k *kms.Client, object kmstest.Object) (message []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			message, err = nil, errors.New("it panicked")
		}
	}()
	keyring := materials.NewKmsDecryptOnlyAnyKeyKeyring(k, func(o *materials.KeyringOptions) { o.EnableLegacyWrappingAlgorithms = true })
	manager, err := materials.NewCryptographicMaterialsManager(keyring)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := client.New(stored{object.Metadata, object.Octets}.client(), manager)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.GetObject(tb.Context(), &s3.GetObjectInput{Bucket: aws.String("mail"), Key: aws.String("in/" + sesName)})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	// It is no fault of the client's if reading it costs more than this.
	text := bytes.NewBuffer(make([]byte, 0, len(object.Octets)+bytes.MinRead))
	_, err = text.ReadFrom(out.Body)
	return text.Bytes(), err
}

func own(tb testing.TB, k *kms.Client, object kmstest.Object) ([]byte, error) {
	return New(k).Decrypt(tb.Context(), "in/"+sesName, object.Metadata, bytes.Clone(object.Octets))
}

// TestReal decrypts with moto, which enforces the encryption context as KMS does.
func TestReal(t *testing.T) {
	m := moto.Start(t)
	k, key := m.KMS(), m.Key(t)
	object, err := kmstest.Seal(t.Context(), k, key, sesName, []byte(mail))
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(testing.TB, *kms.Client, kmstest.Object) ([]byte, error){own, official} {
		if got, err := read(t, k, object); err != nil || string(got) != mail {
			t.Fatalf("%q, %v", got, err)
		}
	}
	for _, test := range []struct {
		name     string
		metadata map[string]string
		reason   string
	}{
		{"another rule", bound(t, object.Metadata, "aws:ses:rule-name", "another"), wrongKey},
		{"no key id", bound(t, object.Metadata, contextKey, ""), wrongKey},
		{"no account", bound(t, object.Metadata, "aws:ses:source-account", ""), wrongKey},
		{"more", bound(t, object.Metadata, "more", "of it"), wrongKey},
		{"nothing", with(object.Metadata, metaContext, "{}"), wrongKey},
		{"another object's", with(object.Metadata, metaWrapped, reseal(t, k, key).Metadata[metaWrapped]), broken},
	} {
		spoilt := kmstest.Object{Metadata: test.metadata, Octets: object.Octets}
		if _, err := own(t, k, spoilt); reason(err) != test.reason {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := official(t, k, spoilt); err == nil {
			t.Errorf("%s: AWS's client reads it", test.name)
		}
	}
}

// reseal makes another message of the same encryption context.
func reseal(t *testing.T, k *kms.Client, key string) kmstest.Object {
	t.Helper()
	object, err := kmstest.Seal(t.Context(), k, key, sesName, []byte("another mail"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// TestLikeTheOfficialClient compares what is read and what is refused. Where
// they differ, ours is to be the one that refuses.
func TestLikeTheOfficialClient(t *testing.T) {
	k := server(t).Client()
	object := sealed(t, k, []byte(mail))
	wrapped := withContext(t, k)
	flipped := bytes.Clone(object.Octets)
	flipped[len(flipped)-1] ^= 1
	for _, test := range []struct {
		name     string
		object   kmstest.Object
		ours     bool // decrypts it
		official bool
	}{
		{"as SES", object, true, true},
		{"kms+context", wrapped, true, true},
		{"another name", kmstest.Object{Metadata: with(object.Metadata, "some", "thing"), Octets: object.Octets}, true, true},
		{"no length", kmstest.Object{Metadata: with(object.Metadata, metaLength, ""), Octets: object.Octets}, true, true},
		{"flipped", kmstest.Object{Metadata: object.Metadata, Octets: flipped}, false, false},
		{"cut off", kmstest.Object{Metadata: object.Metadata, Octets: object.Octets[:10]}, false, false},
		{"context of kms", kmstest.Object{Metadata: with(object.Metadata, metaWrap, wrapKMSContext), Octets: object.Octets}, false, false},
		{"kms of context", kmstest.Object{Metadata: with(wrapped.Metadata, metaWrap, wrapKMS), Octets: wrapped.Octets}, true, true},
		{"CBC", kmstest.Object{Metadata: with(object.Metadata, metaCipher, "AES/CBC/PKCS5Padding"), Octets: object.Octets}, false, false},
		{"v1", kmstest.Object{Metadata: with(object.Metadata, metaWrapped, "", "x-amz-key", object.Metadata[metaWrapped]), Octets: object.Octets}, false, false},
		{"v1 and v2", kmstest.Object{Metadata: with(object.Metadata, "x-amz-key", object.Metadata[metaWrapped]), Octets: object.Octets}, false, false},
		{"short tag", kmstest.Object{Metadata: with(object.Metadata, metaTag, "96"), Octets: object.Octets}, false, true},
		{"another message", kmstest.Object{Metadata: rename(t, k).Metadata, Octets: object.Octets}, false, false},
		{"no ASCII", kmstest.Object{Metadata: with(object.Metadata, metaContext, "{\"a\":\"\xff"), Octets: object.Octets}, false, false},
	} {
		got, err := own(t, k, test.object)
		if test.ours != (err == nil) || test.ours && string(got) != mail {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
		got, err = official(t, k, test.object)
		if test.official != (err == nil) || test.official && string(got) != mail {
			t.Errorf("%s: AWS's client says %q, %v", test.name, got, err)
		}
	}
}

// withContext is the message as AWS's own clients write it today.
func withContext(t *testing.T, k *kms.Client) kmstest.Object {
	t.Helper()
	manager, err := materials.NewCryptographicMaterialsManager(materials.NewKmsKeyring(k, kmstest.Key))
	if err != nil {
		t.Fatal(err)
	}
	sent := &sent{}
	s3Client := s3.New(s3.Options{Region: "us-east-1", HTTPClient: sent, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	c, err := client.New(s3Client, manager, func(o *client.EncryptionClientOptions) { o.CommitmentPolicy = commitment.FORBID_ENCRYPT_ALLOW_DECRYPT })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("mail"), Key: aws.String("key"), Body: strings.NewReader(mail)}); err != nil {
		t.Fatal(err)
	}
	return sent.object
}

// rename makes an object of another message.
func rename(t *testing.T, k *kms.Client) kmstest.Object {
	t.Helper()
	object, err := kmstest.Seal(t.Context(), k, kmstest.Key, "another0123456789012345678901", []byte("another mail"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// sent keeps the object that is put.
type sent struct{ object kmstest.Object }

func (s *sent) Do(r *http.Request) (*http.Response, error) {
	octets, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.object = kmstest.Object{Metadata: map[string]string{}, Octets: octets}
	for name := range r.Header {
		if bare, is := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); is {
			s.object.Metadata[bare] = r.Header.Get(name)
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
}

// BenchmarkDecrypt reads an object of 40 MiB, as large as SES takes mail, from
// the answer of S3 to the message in memory: into one buffer and in place, and
// with AWS's own client.
func BenchmarkDecrypt(b *testing.B) {
	k := server(b).Client()
	object := sealed(b, k, make([]byte, 40<<20))
	b.Run("homing", func(b *testing.B) {
		b.SetBytes(40 << 20)
		b.ReportAllocs()
		for b.Loop() {
			out, err := stored{object.Metadata, object.Octets}.client().GetObject(b.Context(), &s3.GetObjectInput{Bucket: aws.String("mail"), Key: aws.String(sesName)})
			if err != nil {
				b.Fatal(err)
			}
			octets := make([]byte, *out.ContentLength)
			if _, err := io.ReadFull(out.Body, octets); err != nil {
				b.Fatal(err)
			}
			if _, err := New(k).Decrypt(b.Context(), sesName, out.Metadata, octets); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("aws", func(b *testing.B) {
		b.SetBytes(40 << 20)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := official(b, k, object); err != nil {
				b.Fatal(err)
			}
		}
	})
}
