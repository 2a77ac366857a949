# The domains, at SES: verified by their DKIM records.

resource "aws_sesv2_email_identity" "domain" {
  for_each = toset(var.domains)

  email_identity = each.value

  dkim_signing_attributes {
    next_signing_key_length = "RSA_2048_BIT"
  }
}

resource "aws_sesv2_email_identity_mail_from_attributes" "domain" {
  for_each = aws_sesv2_email_identity.domain

  email_identity         = each.value.email_identity
  mail_from_domain       = "${var.mail_from}.${each.key}"
  behavior_on_mx_failure = "USE_DEFAULT_VALUE" # mail is sent all the same, as amazonses.com
}

locals {
  # https://docs.aws.amazon.com/general/latest/gr/ses.html#ses_dkim_domains
  # If the region has a zone of its own that is missing here, DKIM stays pending:
  # compare with SigningHostedZone of `aws sesv2 get-email-identity`.
  own_dkim_zone = [
    "af-south-1", "ap-northeast-3", "ap-south-2", "ap-southeast-3", "ap-southeast-5", "ca-west-1",
    "eu-central-2", "eu-south-1", "il-central-1", "me-central-1", "us-gov-east-1",
  ]
  dkim_zone = contains(local.own_dkim_zone, local.region) ? "dkim.${local.region}.amazonses.com" : "dkim.amazonses.com"

  # What needs an MX record: alice@example.com and example.com the domain,
  # .example.com a wildcard. Each is the business of the domain closest to it.
  mx_names = distinct([for r in local.recipients : startswith(r, ".") ? "*${r}" : reverse(split("@", r))[0]])
  zone_of = {
    for name in local.mx_names : name =>
    reverse([for d in local.shortest_first : d if name == d || endswith(name, ".${d}")])[0]
  }
  shortest_first = [for key in sort([for d in var.domains : format("%03d %s", length(d), d)]) : split(" ", key)[1]]

  # By domain, then by what a record is for: names that are known before the
  # tokens are, so that for_each can go by them.
  dns_records = {
    for domain, identity in aws_sesv2_email_identity.domain : domain => merge(
      {
        for i in range(3) : "dkim-${i + 1}" => {
          name     = "${identity.dkim_signing_attributes[0].tokens[i]}._domainkey.${domain}"
          type     = "CNAME"
          content  = "${identity.dkim_signing_attributes[0].tokens[i]}.${local.dkim_zone}"
          priority = null
        }
      },
      {
        for name in local.mx_names : "mx-${name}" => { name = name, type = "MX", content = "inbound-smtp.${local.region}.amazonaws.com", priority = 10 }
        if var.mx && domain == local.zone_of[name]
      },
      {
        mail-from-mx  = { name = "${var.mail_from}.${domain}", type = "MX", content = "feedback-smtp.${local.region}.amazonses.com", priority = 10 }
        mail-from-spf = { name = "${var.mail_from}.${domain}", type = "TXT", content = "v=spf1 include:amazonses.com ~all", priority = null }
      },
      {
        for key, record in {
          spf   = { name = domain, type = "TXT", content = var.spf, priority = null }
          dmarc = { name = "_dmarc.${domain}", type = "TXT", content = var.dmarc, priority = null }
        } : key => record if record.content != null
      },
    )
  }
}
