# Each message is encrypted to your OpenPGP key as soon as it has arrived, and only
# homing, at home, can read it. Before the first apply:
#
#   gpg --armor --export-options export-minimal --export me@example.com > me.asc
#   build homing-lambda.zip as contrib/lambda/README.md says, and copy it here

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

  domains           = ["example.com"]
  activate_rule_set = true # look first: `aws ses describe-active-receipt-rule-set`
  sqs               = true

  lambda_package = "${path.module}/homing-lambda.zip"
  encrypt_to     = file("${path.module}/me.asc")
}

# And HOMING_PGP_KEY_FILE, the path of the secret key.
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
