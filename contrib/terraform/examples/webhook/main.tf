# SNS calls homing at an HTTPS address; DNS at Cloudflare. Apply it twice: first
# with -var subscribe=false, then, when homing runs with what the outputs say,
# without.

terraform {
  required_providers {
    aws        = { source = "hashicorp/aws", version = "~> 6.0" }
    cloudflare = { source = "cloudflare/cloudflare", version = "~> 5.0" }
  }
}

provider "aws" {
  region = "eu-west-1" # where SES receives mail, and where the bucket is

  default_tags {
    tags = { service = "mail" }
  }
}

provider "cloudflare" {} # CLOUDFLARE_API_TOKEN, with the permission to edit the zone's DNS

variable "subscribe" {
  type    = bool
  default = true
}

variable "zone_id" {
  type        = string
  description = "ID of the zone of example.com."
}

module "mail" {
  source = "../../aws"

  domains           = ["example.com"]
  activate_rule_set = true # look first: `aws ses describe-active-receipt-rule-set`
  webhook_url       = "https://mail.example.com/sns"
  subscribe         = var.subscribe

  # Delivered mail stays for a month, as a backup.
  after_delivery        = "tag"
  expire_delivered_days = 30

  smtp_user = true
}

module "dns" {
  source = "../../dns-cloudflare"

  zone_id = var.zone_id
  records = module.mail.dns_records["example.com"]
}

output "environment" {
  value = module.mail.environment_file
}

output "credentials" {
  value     = module.mail.credentials_file
  sensitive = true
}

output "smtp" {
  value     = module.mail.smtp
  sensitive = true
}
