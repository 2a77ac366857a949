locals {
  webhook_path = var.webhook_url == null ? null : coalesce(regex("^https://[^/]+(/?.*)$", var.webhook_url)[0], "/")

  places = [
    for prefix in concat(
      local.encrypts ? [local.encrypted_prefix] : [],
      [var.prefix],
      # Recipients that are named after a message was moved are served from there.
      local.moves ? [local.delivered_prefix] : [],
    ) : "${aws_s3_bucket.mail.bucket}/${prefix}"
  ]

  environment = {
    for name, value in {
      AWS_REGION            = local.region
      HOMING_SNS_TOPICS     = aws_sns_topic.mail.arn
      HOMING_BUCKETS        = join(",", local.places)
      HOMING_LISTEN         = var.webhook_url == null ? "" : null # no webhook; else homing's default
      HOMING_WEBHOOK_PATH   = local.webhook_path
      HOMING_SQS_QUEUES     = one(aws_sqs_queue.mail[*].url)
      HOMING_DLQ            = aws_sqs_queue.dlq.url
      HOMING_AFTER_DELIVERY = var.after_delivery
    } : name => value if value != null
  }
}

output "environment" {
  description = "homing's environment, by name. What is about your Dovecot and your keys is not in it: HOMING_DELIVER_TO, HOMING_RECIPIENTS, HOMING_POSTMASTER, HOMING_PGP_*."
  value       = local.environment
}

output "environment_file" {
  description = "The same as a file for systemd or Docker: tofu output -raw environment_file > homing.env"
  value       = join("", [for name, value in local.environment : "${name}=${value}\n"])
}

output "credentials_file" {
  description = "homing's credentials, likewise; empty unless identity is user with an access key."
  sensitive   = true
  value       = join("", [for key in aws_iam_access_key.homing : "AWS_ACCESS_KEY_ID=${key.id}\nAWS_SECRET_ACCESS_KEY=${key.secret}\n"])
}

output "policy" {
  description = "JSON of what homing must be allowed, for an identity that is made elsewhere."
  value       = local.policy
}

output "role_arn" {
  description = "ARN of homing's role, null without one."
  value       = one(aws_iam_role.homing[*].arn)
}

output "smtp" {
  description = "How to send through SES (STARTTLS on 587, TLS on 465); null without smtp_user."
  sensitive   = true
  value = one([for key in aws_iam_access_key.smtp : {
    host     = "email-smtp.${local.region}.amazonaws.com"
    username = key.id
    password = key.ses_smtp_password_v4
  }])
}

output "dns_records" {
  description = "The DNS records by domain and purpose: name (absolute, without the last dot), type, content, and priority for MX."
  value       = local.dns_records
}

output "dns_zone_file" {
  description = "The same in the form of a zone file, to read, to import, or to type in elsewhere."
  value = join("", [
    for record in flatten([for records in local.dns_records : values(records)]) :
    format("%s. 300 IN %s %s\n", record.name, record.type,
    record.type == "TXT" ? "\"${record.content}\"" : join(" ", compact([record.priority == null ? "" : tostring(record.priority), "${record.content}."])))
  ])
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.mail.bucket
}

output "topic_arn" {
  description = "ARN of the topic."
  value       = aws_sns_topic.mail.arn
}
