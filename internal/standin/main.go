// Standin stands in for Terraform's providers of AWS and Cloudflare where these
// cannot be had: it has their schemas, out of the typings that npm publishes,
// and makes nothing. So Terraform or OpenTofu itself checks every name, type,
// expression and dependency of a configuration, plans it and applies it.
//
// What it cannot tell is what AWS would say: it has none of the providers' own
// validation, and the values that only AWS knows are made up (values.go).
//
// Terraform starts it under the name terraform-provider-aws_v6.25.0 or the like,
// which says whom it stands in for. STANDIN_TYPINGS names the directory with the
// package @cdktf/provider-aws in "aws", and likewise for cloudflare.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
)

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Getenv("STANDIN_TYPINGS")); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run(program, typings string) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(program, "terraform-provider-"), "_")
	read, err := readPackage(filepath.Join(typings, name), name)
	if err != nil {
		return err
	}
	return tf6server.Serve("registry.terraform.io/standin/"+name, func() tfprotov6.ProviderServer {
		return &provider{name: name, schemas: read, region: "us-east-1"}
	})
}
