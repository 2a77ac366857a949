package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/homing-mail/homing/poller"
)

// queues are the groups of HOMING_SQS_QUEUES and HOMING_DLQ.
func (c *checker) queues() (all []group) {
	for _, url := range c.cfg.SQSQueues {
		all = append(all, c.queueGroup("sqs queue", "HOMING_SQS_QUEUES", string(url), judgeQueue))
	}
	if c.cfg.DLQ != "" {
		all = append(all, c.queueGroup("dead letters", "HOMING_DLQ", string(c.cfg.DLQ), judgeDeadLetters))
	}
	return all
}

// queueGroup asks for a queue's attributes. That receiving, hiding and deleting
// is allowed too cannot be tried without doing it to somebody's mail.
func (c *checker) queueGroup(name, variable, url string, judge func(poller.QueueState) finding) group {
	return c.awsGroup(func(ctx context.Context, p *page) {
		p.try(ctx, name, url, func(ctx context.Context) finding {
			client, err := poller.NewClient(ctx, url)
			if err != nil {
				return misset(err, "correct "+variable+" and the AWS_* variables")
			}
			state, err := poller.Inspect(ctx, client, url)
			c.heard("SQS", state.Date, state.Heard)
			if e, refused := errors.AsType[*poller.InspectError](err); refused {
				return broken(err, e.Mend())
			}
			return judge(state)
		})
	})
}

// longest is how long SQS can keep a message at most
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
const longest = 14 * 24 * time.Hour

func judgeQueue(q poller.QueueState) finding {
	const weekend = 4 * 24 * time.Hour // SQS's own default, and enough for a machine that is off so long
	text := describeQueue(q)
	switch {
	case 0 < q.Receives && q.Receives < poller.FewReceives:
		return doubtful(text, "set maxReceiveCount in the queue's redrive policy to 20 or more: mail that waits for Dovecot is received again and again")
	case q.Retention < weekend:
		return doubtful(text, "set MessageRetentionPeriod of the queue to 1209600 (14 days): mail that is not delivered within it has only the sweep")
	}
	return well("%s", text)
}

func judgeDeadLetters(q poller.QueueState) finding {
	if q.Retention < longest {
		return doubtful(describeQueue(q), "set MessageRetentionPeriod of the dead-letter queue to 1209600 (14 days), the most that SQS allows")
	}
	return well("%s", describeQueue(q))
}

// describeQueue: the visibility timeout is for other readers, if there are any.
func describeQueue(q poller.QueueState) string {
	text := fmt.Sprintf("about %d messages, kept for %s, visibility timeout %s (homing asks for its own)", q.Messages, inDays(q.Retention), q.Visibility)
	if q.Receives > 0 {
		return fmt.Sprintf("%s, given up after %d receives", text, q.Receives)
	}
	return text + ", never given up"
}

func inDays(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}
