# homing pulls from a queue: nothing at home needs to be reachable. DNS is
# somewhere else, so the records are printed.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.0" }
  }
}

provider "aws" {
  region = "eu-west-1"
}

module "mail" {
  source = "../../aws"

  domains           = ["example.com", "example.org"]
  recipients        = ["alice@example.com", "info@example.com", "example.org"]
  activate_rule_set = true # look first: `aws ses describe-active-receipt-rule-set`
  sqs               = true

  after_delivery        = "move:delivered/"
  expire_delivered_days = 90
  versioning            = true

  # There is an SPF record already.
  spf = null
}

output "environment" {
  value = module.mail.environment_file
}

output "credentials" {
  value     = module.mail.credentials_file
  sensitive = true
}

output "dns" {
  value = module.mail.dns_zone_file
}
