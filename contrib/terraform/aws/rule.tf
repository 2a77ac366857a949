# What SES does with a message: store it, then say so.

resource "aws_ses_receipt_rule_set" "mail" {
  count         = var.rule_set == null ? 1 : 0
  rule_set_name = local.rule_set
}

resource "aws_ses_receipt_rule" "mail" {
  name          = var.name
  rule_set_name = var.rule_set == null ? aws_ses_receipt_rule_set.mail[0].rule_set_name : var.rule_set
  after         = var.rule_after
  recipients    = local.recipients
  enabled       = true
  scan_enabled  = true
  tls_policy    = var.require_tls ? "Require" : "Optional"

  s3_action {
    position          = 1
    bucket_name       = aws_s3_bucket.mail.bucket
    object_key_prefix = var.prefix
    topic_arn         = local.encrypts ? null : aws_sns_topic.mail.arn # or the function notifies it
    kms_key_arn       = one(aws_kms_key.mail[*].arn)
  }

  dynamic "lambda_action" {
    for_each = aws_lambda_function.encrypt

    content {
      position        = 2
      function_arn    = lambda_action.value.arn
      invocation_type = "Event"
    }
  }

  # SES tries all of these when the rule is made: it writes an object named
  # AMAZON_SES_SETUP_NOTIFICATION and notifies the topic of it (homing knows).
  depends_on = [
    aws_s3_bucket_policy.mail,
    aws_s3_bucket_ownership_controls.mail,
    aws_s3_bucket_server_side_encryption_configuration.mail,
    aws_s3_bucket_versioning.mail,
    aws_sns_topic_policy.mail,
    aws_lambda_permission.ses,
    aws_iam_role_policy.lambda,
  ]
}

resource "aws_ses_active_receipt_rule_set" "mail" {
  count         = var.activate_rule_set ? 1 : 0
  rule_set_name = aws_ses_receipt_rule.mail.rule_set_name

  # No mail before there is somebody to tell, or a queue that keeps it.
  depends_on = [aws_sns_topic_subscription.webhook, aws_sns_topic_subscription.sqs]
}
