# Where SES stores mail. Nobody but SES writes here, and homing.

resource "aws_s3_bucket" "mail" {
  bucket = local.bucket
}

resource "aws_s3_bucket_public_access_block" "mail" {
  bucket = aws_s3_bucket.mail.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "mail" {
  bucket = aws_s3_bucket.mail.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "mail" {
  bucket = aws_s3_bucket.mail.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# Taking this away again suspends versioning, which is all that S3 can do.
resource "aws_s3_bucket_versioning" "mail" {
  count  = var.versioning ? 1 : 0
  bucket = aws_s3_bucket.mail.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "mail" {
  bucket = aws_s3_bucket.mail.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "SESStores"
        Effect    = "Allow"
        Principal = { Service = "ses.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.mail.arn}/${var.prefix}*"
        Condition = local.from_our_rule
      },
      {
        Sid       = "OnlyTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.mail.arn, "${aws_s3_bucket.mail.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })

  # S3 refuses two changes of a bucket's policies at the same time.
  depends_on = [aws_s3_bucket_public_access_block.mail]
}

# No rule here matches mail that homing has not delivered: not the inbox, only
# what it has tagged or moved.
resource "aws_s3_bucket_lifecycle_configuration" "mail" {
  bucket = aws_s3_bucket.mail.id

  rule {
    id     = "uploads-that-were-given-up"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = var.expire_delivered_days == null ? [] : [var.expire_delivered_days]

    content {
      id     = "delivered-by-tag"
      status = "Enabled"

      filter {
        tag {
          key   = "homing"
          value = "delivered"
        }
      }

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = var.expire_delivered_days == null || local.delivered_prefix == "" ? [] : [var.expire_delivered_days]

    content {
      id     = "delivered-by-prefix"
      status = "Enabled"

      filter {
        prefix = local.delivered_prefix
      }

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = aws_s3_bucket_versioning.mail

    content {
      id     = "versions-no-longer-current"
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = var.noncurrent_days
      }

      expiration {
        expired_object_delete_marker = true
      }
    }
  }
}
