package fetcher

import (
	"fmt"
	"testing"

	"github.com/homing-mail/homing/internal/s3test"
)

// BenchmarkFetch includes the server, which runs in the same process.
func BenchmarkFetch(b *testing.B) {
	server, err := s3test.New("mail")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	awsEnvironment(b, map[string]string{"AWS_ENDPOINT_URL_S3": server.URL(),
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
	client, err := NewClient(b.Context(), true)
	if err != nil {
		b.Fatal(err)
	}
	f := fetcherOf(client)
	for _, size := range []int{4 << 10, 50 << 10, maxMessage} {
		ref := Ref{Bucket: "mail", Key: fmt.Sprint(size), Lane: "me@example.com"}
		if err := server.Put(ref.Bucket, ref.Key, octets(size), nil); err != nil {
			b.Fatal(err)
		}
		b.Run(ref.Key, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				object, err := f.Fetch(b.Context(), ref)
				if err != nil {
					b.Fatal(err)
				}
				object.Release()
			}
		})
	}
}
