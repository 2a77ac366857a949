# The records of one domain, at Cloudflare.

terraform {
  required_version = ">= 1.9"

  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
  }
}

variable "zone_id" {
  description = "ID of the domain's zone at Cloudflare."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.zone_id))
    error_message = "zone_id must be the 32 hexadecimal digits that Cloudflare shows in the overview of the zone."
  }
}

variable "records" {
  description = "The domain's part of the output dns_records of the module aws."
  type = map(object({
    name     = string
    type     = string
    content  = string
    priority = optional(number)
  }))
}

resource "cloudflare_dns_record" "mail" {
  for_each = var.records

  zone_id  = var.zone_id
  name     = each.value.name
  type     = each.value.type
  ttl      = 300
  priority = each.value.priority

  # Cloudflare adds the quotation marks of a text if they are missing, and then
  # the next plan would take them away again.
  content = each.value.type == "TXT" ? "\"${each.value.content}\"" : each.value.content

  # SES must see the record itself.
  proxied = false
  comment = "mail: ${each.key}"
}
