# With kms: SES encrypts a message itself before it stores it, and whoever reads
# it must be allowed kms:Decrypt.

resource "aws_kms_key" "mail" {
  count = var.kms ? 1 : 0

  description         = "Mail that SES stores for ${var.name}"
  enable_key_rotation = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Without this nobody could change the key any more. It leaves to IAM who
        # in this account may use it.
        Sid       = "AccountGoverns"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "SESEncrypts"
        Effect    = "Allow"
        Principal = { Service = "ses.amazonaws.com" }
        Action    = "kms:GenerateDataKey*"
        Resource  = "*"
        Condition = local.from_our_rule
      },
    ]
  })
}

resource "aws_kms_alias" "mail" {
  count = var.kms ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.mail[0].key_id
}
