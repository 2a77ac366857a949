variable "name" {
  description = "Beginning of the names of everything that is made. Not to be changed later: everything would be made anew, and mail refused meanwhile."
  type        = string
  default     = "homing"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "name must have 2 to 24 of a-z, 0-9 and -, beginning with a letter and not ending with -: it is part of the bucket's name, which may have 63."
  }
}

# Receiving ------------------------------------------------------------------

variable "domains" {
  description = "Domains to receive and send mail for. Each becomes an SES identity with DKIM and a MAIL FROM domain of its own."
  type        = list(string)

  validation {
    condition     = length(var.domains) > 0 && length(var.domains) == length(distinct(var.domains))
    error_message = "domains must name at least one domain, and none twice."
  }
  validation {
    condition     = alltrue([for d in var.domains : length(d) <= 253 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$", d))])
    error_message = "domains must be names like example.com: lower case, no dot at either end, no wildcard (set subdomains), international names in their xn-- form."
  }
}

variable "subdomains" {
  description = "Also receive for every subdomain of the domains. A receipt rule for example.com covers no subdomain; this adds .example.com to the rule and a wildcard MX record."
  type        = bool
  default     = false
}

variable "recipients" {
  description = "What SES accepts, instead of everything at the domains: addresses (alice@example.com), domains (example.com), all subdomains of one (.example.com). SES refuses mail to anybody else while the sender waits."
  type        = list(string)
  default     = null

  validation {
    condition     = var.recipients == null ? true : length(var.recipients) > 0 && length(var.recipients) <= 100
    error_message = "recipients must have 1 to 100 entries, or be null. (Without any a receipt rule takes mail for everybody at every verified domain of the account; 100 is the most that SES allows in a rule.)"
  }
  validation {
    condition = var.recipients == null ? true : alltrue([
      for r in var.recipients : r == lower(r) && anytrue([
        for d in var.domains : endswith(r, "@${d}") || r == d || r == ".${d}" || endswith(r, ".${d}")
      ])
    ])
    error_message = "recipients must be in lower case, and within the domains: SES takes no mail for others."
  }
}

variable "mx" {
  description = "Have the MX records that bring mail to SES among the DNS records. false for domains whose mail is elsewhere, until SES has verified them: before that it refuses their mail."
  type        = bool
  default     = true
}

variable "activate_rule_set" {
  description = "Make the rule set the active one. Only one can be active in a region, and this replaces it without asking: true if `aws ses describe-active-receipt-rule-set` shows none, else false together with rule_set."
  type        = bool

  validation {
    condition     = !(var.activate_rule_set && var.rule_set != null)
    error_message = "activate_rule_set must be false with rule_set: the set that is there already is active, or is activated by whoever made it."
  }
}

variable "rule_set" {
  description = "Name of an existing rule set to put the rule into; null: make one."
  type        = string
  default     = null
}

variable "rule_after" {
  description = "Name of the rule of that set after which ours comes; null: it is the first."
  type        = string
  default     = null

  validation {
    condition     = var.rule_after == null || var.rule_set != null
    error_message = "rule_after needs rule_set: a new rule set has no other rule."
  }
}

variable "require_tls" {
  description = "Refuse mail that does not come over TLS. Senders without it get a bounce."
  type        = bool
  default     = true
}

# The bucket -----------------------------------------------------------------

variable "bucket" {
  description = "Name of the bucket; null: one made of name, account and region."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null ? true : can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must have 3 to 63 of a-z, 0-9 and -, with a letter or digit at both ends. (A dot would break TLS to it.)"
  }
}

variable "prefix" {
  description = "Where in the bucket SES stores mail."
  type        = string
  default     = "inbox/"

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]+/)+$", var.prefix))
    error_message = "prefix must be of A-Z, a-z, 0-9, _, - and /, begin with none and end with /, as in inbox/."
  }
}

variable "versioning" {
  description = "Keep what is deleted or replaced for noncurrent_days."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "How long a version that is no longer the current one is kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days must be a whole number of days, 1 or more."
  }
}

variable "after_delivery" {
  description = "What homing does with a delivered message (HOMING_AFTER_DELIVERY): keep, delete, tag, move:prefix/, encrypt or encrypt:prefix/. Decides what homing is allowed and what the bucket's lifecycle removes."
  type        = string
  default     = "keep"

  validation {
    condition     = can(regex("^(keep|delete|tag|encrypt|(move|encrypt):([A-Za-z0-9_-]+/)+)$", var.after_delivery))
    error_message = "after_delivery must be keep, delete, tag, encrypt, or move:prefix/ or encrypt:prefix/, as in move:delivered/."
  }
  validation {
    condition     = !anytrue([for waits in [var.prefix, "encrypted/"] : startswith(waits, try(split(":", var.after_delivery)[1], " "))])
    error_message = "after_delivery must not put delivered mail where prefix or encrypted/ is: what is below that expires, delivered or not."
  }
}

variable "expire_delivered_days" {
  description = "Remove delivered messages after so many days: objects that homing has tagged, or put below the prefix of after_delivery; never others. null: keep them."
  type        = number
  default     = null

  validation {
    condition     = var.expire_delivered_days == null ? true : var.expire_delivered_days >= 1 && floor(var.expire_delivered_days) == var.expire_delivered_days
    error_message = "expire_delivered_days must be a whole number of days, 1 or more, or null."
  }
  validation {
    condition     = var.expire_delivered_days == null || can(regex("^(tag$|move:|encrypt:)", var.after_delivery))
    error_message = "expire_delivered_days needs after_delivery to be tag, move:prefix/ or encrypt:prefix/, by which the bucket tells what has been delivered."
  }
}

variable "kms" {
  description = "Have SES encrypt each message with a KMS key of yours before it stores it. The bucket is encrypted by S3 in any case."
  type        = bool
  default     = false
}

variable "lambda_package" {
  description = "Path of the zip that contrib/lambda builds, to have each message encrypted to encrypt_to before homing hears of it; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.lambda_package == null || !startswith(var.prefix, "encrypted/")
    error_message = "lambda_package needs another prefix than encrypted/, where the function puts what it encrypted."
  }
  validation {
    condition     = var.lambda_package == null || !var.kms
    error_message = "lambda_package does not go together with kms: the function cannot read what SES encrypted, and has no need to."
  }
}

variable "encrypt_to" {
  description = "OpenPGP public key for lambda_package, as `gpg --armor --export-options export-minimal --export me@example.com` prints it."
  type        = string
  default     = null

  validation {
    condition     = (var.encrypt_to != null) == (var.lambda_package != null)
    error_message = "encrypt_to is required with lambda_package, and has no use without."
  }
  validation {
    condition     = var.encrypt_to == null ? true : can(regex("^-----BEGIN PGP PUBLIC KEY BLOCK-----", trimspace(var.encrypt_to))) && !strcontains(var.encrypt_to, "PRIVATE")
    error_message = "encrypt_to must be a public key, armored: it begins with -----BEGIN PGP PUBLIC KEY BLOCK-----. The secret one stays at home."
  }
  validation {
    condition     = var.encrypt_to == null ? true : length(var.encrypt_to) <= 3500
    error_message = "encrypt_to must have at most 3,500 characters, for Lambda's variables hold 4 KB together: export the key with --export-options export-minimal, or take one of curve25519."
  }
}

# Ways to homing -------------------------------------------------------------

variable "webhook_url" {
  description = "HTTPS address of homing's webhook, as in https://mail.example.com/sns; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.webhook_url == null ? true : can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$", var.webhook_url))
    error_message = "webhook_url must be like https://mail.example.com/sns: https, without user, query or fragment."
  }
}

variable "subscribe" {
  description = "Subscribe the webhook. SNS asks homing at once to confirm it: false until homing answers at webhook_url."
  type        = bool
  default     = true
}

variable "sqs" {
  description = "Make a queue that homing pulls from: for a machine that cannot be reached from the internet."
  type        = bool
  default     = false
}

# Who homing is --------------------------------------------------------------

variable "identity" {
  description = "Who homing is to AWS: user (with an access key), role (with trust_policy), or none (attach the output policy yourself)."
  type        = string
  default     = "user"

  validation {
    condition     = contains(["user", "role", "none"], var.identity)
    error_message = "identity must be user, role or none."
  }
}

variable "trust_policy" {
  description = "JSON of the policy that says who may assume the role: an EC2 instance, IAM Roles Anywhere, an OIDC provider."
  type        = string
  default     = null

  validation {
    condition     = (var.identity == "role") == (var.trust_policy != null)
    error_message = "trust_policy is required with identity = \"role\", and has no use with another."
  }
  validation {
    condition     = var.trust_policy == null ? true : can(jsondecode(var.trust_policy).Statement)
    error_message = "trust_policy must be the JSON of a policy, as jsonencode makes it."
  }
}

variable "create_access_key" {
  description = "Make an access key for the user. Its secret is then in Terraform's state: keep the state private. With false make one by `aws iam create-access-key`."
  type        = bool
  default     = true
}

# Sending --------------------------------------------------------------------

variable "smtp_user" {
  description = "Make a user with SMTP credentials that may send as the domains. They are then in Terraform's state."
  type        = bool
  default     = false
}

variable "mail_from" {
  description = "Subdomain of each domain for the envelope sender of what is sent (MAIL FROM), so that SPF is aligned and bounces return to SES. Nothing else may use that name."
  type        = string
  default     = "bounce"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.mail_from))
    error_message = "mail_from must be one label, as in bounce."
  }
}

variable "spf" {
  description = "SPF record of the domains; null: none, because there is one already (add include:amazonses.com to it)."
  type        = string
  default     = "v=spf1 include:amazonses.com ~all"

  validation {
    condition     = var.spf == null ? true : can(regex("^v=spf1( [ -~]*)?$", var.spf)) && length(var.spf) <= 255 && !strcontains(var.spf, "\"")
    error_message = "spf must begin with v=spf1, and have at most 255 printable characters and no quotation marks."
  }
}

variable "dmarc" {
  description = "DMARC record of the domains; null: none. Strengthen p=none to p=quarantine and p=reject once nobody but SES sends in the domains' name."
  type        = string
  default     = "v=DMARC1; p=none"

  validation {
    condition     = var.dmarc == null ? true : can(regex("^v=DMARC1;[ -~]*$", var.dmarc)) && length(var.dmarc) <= 255 && !strcontains(var.dmarc, "\"")
    error_message = "dmarc must begin with v=DMARC1; and have at most 255 printable characters and no quotation marks."
  }
}
