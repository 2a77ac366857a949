# Who homing is, and what it may do: no more than the features in use call for.

locals {
  # Where mail is that has not been delivered: what the Lambda function could not
  # encrypt is in the first place still.
  waiting   = [for prefix in concat([var.prefix], local.encrypts ? [local.encrypted_prefix] : []) : "${aws_s3_bucket.mail.arn}/${prefix}*"]
  delivered = ["${aws_s3_bucket.mail.arn}/${local.delivered_prefix}*"]
  moves     = local.delivered_prefix != "" # or encrypts there
  replaces  = startswith(var.after_delivery, "encrypt")

  # In a bucket with versions homing names the version that it means, for which
  # S3 has permissions of their own. They stay allowed when versioning is taken
  # away, because the versions stay.
  statements = [
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:GetObjectVersionTagging"]
      Resource = local.moves ? concat(local.waiting, local.delivered) : local.waiting
    },
    {
      # For the sweep, and for S3 to say "not there" and not "forbidden", which
      # needs it without a condition on the prefix.
      Sid      = "List"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [aws_s3_bucket.mail.arn]
    },
    var.after_delivery != "tag" ? null : {
      Sid      = "Tag"
      Effect   = "Allow"
      Action   = ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]
      Resource = local.waiting
    },
    var.after_delivery != "delete" && !local.moves && !local.replaces ? null : {
      Sid      = "Delete"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
      Resource = local.waiting
    },
    !local.moves && !local.replaces ? null : {
      # With an object go its tags.
      Sid      = "Write"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:PutObjectTagging"]
      Resource = local.moves ? local.delivered : local.waiting
    },
    !var.kms ? null : {
      Sid      = "Decrypt"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = aws_kms_key.mail[*].arn
    },
    {
      Sid      = "Recover"
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
      Resource = [aws_sqs_queue.dlq.arn]
    },
    !var.sqs ? null : {
      # It sends to the queue that it reads: a message with fewer recipients in
      # the place of one that was delivered to some.
      Sid      = "Pull"
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:GetQueueAttributes"]
      Resource = aws_sqs_queue.mail[*].arn
    },
  ]
  policy = jsonencode({ Version = "2012-10-17", Statement = [for s in local.statements : s if s != null] })
}

resource "aws_iam_user" "homing" {
  count = var.identity == "user" ? 1 : 0
  name  = var.name
}

resource "aws_iam_user_policy" "homing" {
  count  = var.identity == "user" ? 1 : 0
  name   = "mail"
  user   = aws_iam_user.homing[0].name
  policy = local.policy
}

resource "aws_iam_access_key" "homing" {
  count = var.identity == "user" && var.create_access_key ? 1 : 0
  user  = aws_iam_user.homing[0].name
}

resource "aws_iam_role" "homing" {
  count              = var.identity == "role" ? 1 : 0
  name               = var.name
  assume_role_policy = var.trust_policy
}

resource "aws_iam_role_policy" "homing" {
  count  = var.identity == "role" ? 1 : 0
  name   = "mail"
  role   = aws_iam_role.homing[0].name
  policy = local.policy
}

# For Dovecot's or Postfix's relay to SES.
resource "aws_iam_user" "smtp" {
  count = var.smtp_user ? 1 : 0
  name  = "${var.name}-smtp"
}

resource "aws_iam_user_policy" "smtp" {
  count = var.smtp_user ? 1 : 0
  name  = "send"
  user  = aws_iam_user.smtp[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Send"
      Effect   = "Allow"
      Action   = ["ses:SendRawEmail"]
      Resource = [for identity in aws_sesv2_email_identity.domain : identity.arn]
    }]
  })
}

resource "aws_iam_access_key" "smtp" {
  count = var.smtp_user ? 1 : 0
  user  = aws_iam_user.smtp[0].name
}
