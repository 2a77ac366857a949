# Names and places that everything else goes by. The ARNs of the rule and of the
# bucket are put together here and not taken from the resources, because the
# policies that name the rule must be there before it: SES tries them when the
# rule is made.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  bucket   = coalesce(var.bucket, "${var.name}-mail-${local.account}-${local.region}")
  rule_set = coalesce(var.rule_set, var.name)
  rule_arn = "arn:${local.partition}:ses:${local.region}:${local.account}:receipt-rule-set/${local.rule_set}:receipt-rule/${var.name}"

  recipients = var.recipients != null ? var.recipients : concat(var.domains, [for d in var.domains : ".${d}" if var.subdomains])

  # The prefix in move:prefix/ and encrypt:prefix/, "" without one.
  delivered_prefix = try(split(":", var.after_delivery)[1], "")

  # Only SES, only for this account, only for this rule.
  from_our_rule = {
    StringEquals = {
      "aws:SourceAccount" = local.account
      "aws:SourceArn"     = local.rule_arn
    }
  }
}
