# One copy of each mail, whatever happens.
#
# homing delivers again when it cannot know whether a delivery has succeeded: it
# was killed, or Dovecot was, before the answer came. Every repetition carries
# the same X-Homing-Id, which differs from mail to mail and from mailbox to
# mailbox, and homing removes that header from what strangers send. So a second
# mail with one id is a repetition, and is discarded.
#
# The period, 31 days, is longer than the 30 for which homing itself remembers.
# (The test "duplicate" is RFC 7352's. It never matches mail without the header.)
require ["duplicate"];

if duplicate :header "X-Homing-Id" :handle "homing" :seconds 2678400 {
    discard;
    stop;
}
