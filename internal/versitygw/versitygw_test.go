package versitygw

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestStart(t *testing.T) {
	client := Start(t).Client()
	bucket := aws.String("mail")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("octets")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("octets"), ChecksumCRC32: aws.String("AAAAAA==")})
	if err == nil {
		t.Error("a wrong checksum was accepted: this is no server to test integrity with")
	}
}
