# Mail for anything at any subdomain of example.com, as in shop@alice.example.com,
# beside the domain itself; DNS at Route 53. Messages are encrypted with a KMS key,
# and homing runs on EC2 with a role.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.0" }
  }
}

provider "aws" {
  region = "eu-central-1"
}

variable "zone_id" {
  type        = string
  description = "ID of the hosted zone of example.com."
}

variable "subscribe" {
  type    = bool
  default = true # false the first time, until homing runs
}

module "mail" {
  source = "../../aws"

  domains           = ["example.com"]
  subdomains        = true
  activate_rule_set = true # look first: `aws ses describe-active-receipt-rule-set`
  webhook_url       = "https://mail.example.com:8443/hooks/sns"
  subscribe         = var.subscribe
  kms               = true

  identity = "role"
  trust_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# A name that has a record of its own, of whatever type, is not covered by the
# wildcard: it needs an MX record too if it is to receive mail.
resource "aws_route53_record" "mail" {
  for_each = module.mail.dns_records["example.com"]

  zone_id = var.zone_id
  name    = each.value.name
  type    = each.value.type
  ttl     = 300
  records = [each.value.priority == null ? each.value.content : "${each.value.priority} ${each.value.content}"]
}

resource "aws_iam_instance_profile" "homing" {
  name = "homing"
  role = reverse(split("/", module.mail.role_arn))[0]
}

output "environment" {
  value = module.mail.environment_file
}
