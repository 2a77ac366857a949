# What SES found to be spam, or to carry a virus, goes to Junk. A choice of yours:
# the fragments have it as a script of its own, after homing.sieve.
#
# X-Homing-Verdict comes from the signed notification, and homing takes the lines
# of that name out of what strangers send. Mail of which nobody was notified (a
# sweep, a backfill) has only what SES wrote into it; a stranger can add such a
# line, but only to have his own mail filed as junk.
#
# dmarc=FAIL is not asked for: mailing lists break it every day.
require ["fileinto", "mailbox"];

if anyof (header :contains "X-Homing-Verdict" ["spam=FAIL", "virus=FAIL"],
          header :is ["X-SES-Spam-Verdict", "X-SES-Virus-Verdict"] "FAIL") {
    fileinto :create "Junk";
    stop;
}
