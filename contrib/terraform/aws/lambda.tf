# With lambda_package: SES stores a message and calls this function, which puts an
# encrypted one in its place and notifies the topic of that one.

locals {
  encrypts         = var.lambda_package != null
  encrypted_prefix = "encrypted/"
}

resource "aws_lambda_function" "encrypt" {
  count = local.encrypts ? 1 : 0

  function_name    = "${var.name}-encrypt"
  role             = aws_iam_role.lambda[0].arn
  filename         = var.lambda_package
  source_code_hash = filebase64sha256(var.lambda_package)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = ["arm64"]
  memory_size      = 512
  timeout          = 120

  environment {
    variables = {
      HOMING_BUCKET           = "${aws_s3_bucket.mail.bucket}/${var.prefix}"
      HOMING_ENCRYPTED_PREFIX = local.encrypted_prefix
      HOMING_TOPIC            = aws_sns_topic.mail.arn
      HOMING_PGP_ENCRYPT_TO   = var.encrypt_to
    }
  }

  # Its first words would make a log group that keeps them for ever.
  depends_on = [aws_cloudwatch_log_group.lambda]
}

resource "aws_cloudwatch_log_group" "lambda" {
  count = local.encrypts ? 1 : 0

  name              = "/aws/lambda/${var.name}-encrypt"
  retention_in_days = 30
}

resource "aws_lambda_permission" "ses" {
  count = local.encrypts ? 1 : 0

  statement_id   = "SESCalls"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.encrypt[0].function_name
  principal      = "ses.amazonaws.com"
  source_account = local.account
  source_arn     = local.rule_arn
}

resource "aws_iam_role" "lambda" {
  count = local.encrypts ? 1 : 0
  name  = "${var.name}-encrypt"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "lambda" {
  count = local.encrypts ? 1 : 0
  name  = "encrypt"
  role  = aws_iam_role.lambda[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "TakeThePlain"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion"]
        Resource = "${aws_s3_bucket.mail.arn}/${var.prefix}*"
      },
      {
        Sid      = "PutTheEncrypted"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = "${aws_s3_bucket.mail.arn}/${local.encrypted_prefix}*"
      },
      {
        Sid      = "TellWhatIsNotThere"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = aws_s3_bucket.mail.arn
      },
      {
        Sid      = "Announce"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = aws_sns_topic.mail.arn
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.lambda[0].arn}:*"
      },
    ]
  })
}
