package main

import (
	"fmt"
	"regexp"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// account is whose everything is.
const account = "123456789012"

// made are the values that only AWS knows, as far as a configuration builds on
// them, in the form that AWS gives them; a name in braces is another attribute
// of the same resource. Everything else becomes a text that says what it is, and
// that no test takes for an ARN.
var made = map[string]string{
	"data.aws_caller_identity.account_id":     account,
	"data.aws_partition.partition":            "aws",
	"data.aws_region.region":                  "{region}",
	"aws_cloudwatch_log_group.arn":            "arn:aws:logs:{region}:{account}:log-group:{name}",
	"aws_iam_access_key.id":                   "AKIAIOSFODNN7EXAMPLE",
	"aws_iam_access_key.secret":               "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	"aws_iam_role.arn":                        "arn:aws:iam::{account}:role/{name}",
	"aws_iam_user.arn":                        "arn:aws:iam::{account}:user/{name}",
	"aws_iam_access_key.ses_smtp_password_v4": "BEXAMPLEmadeoutofthesecretandtheregion",
	"aws_kms_key.arn":                         "arn:aws:kms:{region}:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	"aws_kms_key.key_id":                      "1234abcd-12ab-34cd-56ef-1234567890ab",
	"aws_lambda_function.arn":                 "arn:aws:lambda:{region}:{account}:function:{function_name}",
	"aws_s3_bucket.arn":                       "arn:aws:s3:::{bucket}",
	"aws_s3_bucket.id":                        "{bucket}",
	"aws_sesv2_email_identity.arn":            "arn:aws:ses:{region}:{account}:identity/{email_identity}",
	"aws_sns_topic.arn":                       "arn:aws:sns:{region}:{account}:{name}",
	"aws_sqs_queue.arn":                       "arn:aws:sqs:{region}:{account}:{name}",
	"aws_sqs_queue.url":                       "https://sqs.{region}.amazonaws.com/{account}/{name}",
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// settle replaces what is not known yet.
func (p *provider) settle(resource string, value tftypes.Value) (tftypes.Value, error) {
	whole := value
	return tftypes.Transform(value, func(path *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
		if v.IsKnown() {
			return v, nil
		}
		var attribute string
		for _, step := range path.Steps() {
			if name, isName := step.(tftypes.AttributeName); isName {
				attribute = string(name)
			}
		}
		return p.make(resource, attribute, whole, v.Type())
	})
}

func (p *provider) make(resource, attribute string, whole tftypes.Value, kind tftypes.Type) (tftypes.Value, error) {
	text := fmt.Sprintf("(%s of a %s)", attribute, resource)
	if template, known := made[resource+"."+attribute]; known {
		text = placeholder.ReplaceAllStringFunc(template, func(found string) string {
			switch name := found[1 : len(found)-1]; name {
			case "account":
				return account
			case "region":
				return p.region
			default:
				return textOf(whole, name, found)
			}
		})
	}
	switch {
	case kind.Is(tftypes.String):
		return tftypes.NewValue(kind, text), nil
	case kind.Is(tftypes.Number):
		return tftypes.NewValue(kind, 0), nil
	case kind.Is(tftypes.Bool):
		return tftypes.NewValue(kind, false), nil
	case attribute == "tokens": // of DKIM, of which there are always three
		tokens := make([]tftypes.Value, 3)
		for i := range tokens {
			tokens[i] = tftypes.NewValue(tftypes.String, fmt.Sprintf("token%d", i+1))
		}
		return tftypes.NewValue(kind, tokens), nil
	case kind.Is(tftypes.Map{}):
		return tftypes.NewValue(kind, map[string]tftypes.Value{}), nil
	case kind.Is(tftypes.List{}), kind.Is(tftypes.Set{}):
		return tftypes.NewValue(kind, []tftypes.Value{}), nil
	}
	return tftypes.NewValue(kind, nil), nil
}

// textOf is a known text of an object, or otherwise another.
func textOf(object tftypes.Value, name, otherwise string) string {
	var attributes map[string]tftypes.Value
	var text *string
	if object.As(&attributes) != nil {
		return otherwise
	}
	if v, has := attributes[name]; !has || !v.IsKnown() || v.As(&text) != nil || text == nil {
		return otherwise
	}
	return *text
}
