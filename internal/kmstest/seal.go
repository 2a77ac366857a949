package kmstest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// Object is an object as SES stores it.
type Object struct {
	Metadata map[string]string // the names without x-amz-meta-
	Octets   []byte
}

// Seal encrypts a message of this SES id as a receipt rule does, with the key of
// this ARN at any KMS. SES's own shape is known from a real object that AWS
// tests its .NET client with.
func Seal(ctx context.Context, client *kms.Client, key, id string, mail []byte) (Object, error) {
	bound := map[string]string{
		"aws:ses:message-id":     id,
		"aws:ses:rule-name":      "to-homing",
		"aws:ses:source-account": "123456789012",
		"kms_cmk_id":             key,
	}
	out, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: types.DataKeySpecAes256, EncryptionContext: bound})
	if err != nil {
		return Object{}, err
	}
	description, err := json.Marshal(bound)
	if err != nil {
		return Object{}, err
	}
	block, err := aes.NewCipher(out.Plaintext)
	if err != nil {
		return Object{}, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return Object{}, err
	}
	iv := make([]byte, gcm.NonceSize())
	rand.Read(iv) // which never fails
	return Object{
		Octets: gcm.Seal(nil, iv, mail, nil),
		Metadata: map[string]string{
			"x-amz-key-v2":                     base64.StdEncoding.EncodeToString(out.CiphertextBlob),
			"x-amz-iv":                         base64.StdEncoding.EncodeToString(iv),
			"x-amz-cek-alg":                    "AES/GCM/NoPadding",
			"x-amz-tag-len":                    "128",
			"x-amz-wrap-alg":                   "kms",
			"x-amz-matdesc":                    string(description),
			"x-amz-unencrypted-content-length": strconv.Itoa(len(mail)),
		},
	}, nil
}
