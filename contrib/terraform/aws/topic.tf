# What SES says about each message, to whoever listens.

resource "aws_sns_topic" "mail" {
  name              = var.name
  signature_version = 2
}

resource "aws_sns_topic_policy" "mail" {
  arn = aws_sns_topic.mail.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "SESNotifies"
      Effect    = "Allow"
      Principal = { Service = "ses.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.mail.arn
      Condition = local.from_our_rule
    }]
  })
}

# Notifications that could not be delivered wait here for homing (HOMING_DLQ).
resource "aws_sqs_queue" "dlq" {
  name                      = "${var.name}-dlq"
  message_retention_seconds = 1209600 # 14 days, the longest there is
  sqs_managed_sse_enabled   = true
}

# Both queues take what the topic sends, and nothing else.
resource "aws_sqs_queue_policy" "from_topic" {
  for_each = merge({ dlq = aws_sqs_queue.dlq }, { for queue in aws_sqs_queue.mail : "mail" => queue })

  queue_url = each.value.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TopicSends"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = each.value.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_sns_topic.mail.arn } }
    }]
  })
}

locals {
  redrive = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dlq.arn })
}

resource "aws_sns_topic_subscription" "webhook" {
  count = var.webhook_url != null && var.subscribe ? 1 : 0

  topic_arn = aws_sns_topic.mail.arn
  protocol  = "https"
  endpoint  = var.webhook_url

  # homing confirms by itself. If it was not there to, apply fails, and the next
  # one subscribes again, which repeats the question.
  endpoint_auto_confirms          = true
  confirmation_timeout_in_minutes = 5

  # Raw messages bear no signature, and homing refuses them.
  raw_message_delivery = false

  # At once, 3 times after 10 s, 5 times after 10 to 300 s, 6 times after 300 s:
  # below the 3,600 s that SNS allows in all. Then the dead-letter queue has it.
  delivery_policy = jsonencode({
    healthyRetryPolicy = {
      numRetries         = 15
      numNoDelayRetries  = 1
      numMinDelayRetries = 3
      minDelayTarget     = 10
      numMaxDelayRetries = 6
      maxDelayTarget     = 300
      backoffFunction    = "exponential"
    }
  })
  redrive_policy = local.redrive

  # SNS puts up with a queue that it may not write to, and then loses messages.
  depends_on = [aws_sqs_queue_policy.from_topic]
}

resource "aws_sqs_queue" "mail" {
  count = var.sqs ? 1 : 0

  name                       = var.name
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 60 # homing sets its own for each message
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  # A message that homing cannot take is seen by a person in the end. It is not
  # for mail that waits: homing puts a new message in the place of one that has
  # been received this often.
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dlq.arn, maxReceiveCount = 50 })
}

resource "aws_sns_topic_subscription" "sqs" {
  count = var.sqs ? 1 : 0

  topic_arn            = aws_sns_topic.mail.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.mail[0].arn
  raw_message_delivery = false
  redrive_policy       = local.redrive

  depends_on = [aws_sqs_queue_policy.from_topic]
}
