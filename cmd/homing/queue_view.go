package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/homing-mail/homing/spool"
)

// itemView is an item as --json shows it. Ages and waits are in seconds.
type itemView struct {
	Item       int64          `json:"item"`
	ID         string         `json:"id"`
	State      spool.State    `json:"state"`
	Age        float64        `json:"age_seconds"`
	Next       *float64       `json:"next_try_seconds,omitempty"`
	Source     string         `json:"source"`
	Kind       string         `json:"kind"`
	Bucket     string         `json:"bucket,omitempty"`
	Key        string         `json:"key,omitempty"`
	Version    string         `json:"version,omitempty"`
	Size       int64          `json:"size,omitempty"`
	Sender     string         `json:"sender"`
	Recipients []string       `json:"recipients"`
	Verdicts   string         `json:"verdicts,omitempty"`
	Received   *time.Time     `json:"received,omitempty"`
	Attempts   int            `json:"attempts"`
	Reason     string         `json:"reason,omitempty"`
	Deliveries []deliveryView `json:"deliveries"`
}

type deliveryView struct {
	Mailbox  string              `json:"mailbox"`
	State    spool.DeliveryState `json:"state"`
	Attempts int                 `json:"attempts"`
	Reply    string              `json:"reply,omitempty"`
}

func newItemView(it *spool.Item) itemView {
	v := itemView{
		Item: it.Number, ID: it.ID, State: it.State, Age: it.Age.Seconds(), Source: it.Source, Kind: it.Kind,
		Bucket: it.Bucket, Key: it.Key, Version: it.Version, Size: it.Size, Sender: it.Sender, Recipients: []string{},
		Verdicts: it.Verdicts, Attempts: it.Attempts, Reason: it.Reason, Deliveries: []deliveryView{},
	}
	if it.State == spool.Pending || it.State == spool.Settling {
		next := max(it.Wait, 0).Seconds()
		v.Next = &next
	}
	if !it.Received.IsZero() {
		v.Received = &it.Received
	}
	for _, r := range it.Recipients {
		v.Recipients = append(v.Recipients, r.Address)
	}
	for _, d := range it.Deliveries {
		v.Deliveries = append(v.Deliveries, deliveryView{d.Mailbox, d.State, d.Attempts, d.Reply})
	}
	return v
}

// writeTable shows an item a line.
func writeTable(w io.Writer, items []*spool.Item) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ITEM\tSTATE\tAGE\tNEXT TRY\tFOR\tLAST REPLY\tMESSAGE")
	for _, it := range items {
		next := "-"
		if it.State == spool.Pending || it.State == spool.Settling {
			next = span(it.Wait)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", it.Number, it.State, span(it.Age), next,
			shorten(whom(it), 40), shorten(clean(it.Reason), 60), clean(it.ID))
	}
	return table.Flush()
}

// whom names the mailboxes that lack the message, or else the recipients.
func whom(it *spool.Item) string {
	var names []string
	for _, d := range it.Deliveries {
		if d.State != spool.Delivered {
			names = append(names, d.Mailbox)
		}
	}
	if names == nil {
		for _, r := range it.Recipients {
			names = append(names, r.Address)
		}
	}
	return clean(strings.Join(names, " "))
}

// writeItem shows one item in full.
func writeItem(w io.Writer, it *spool.Item) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		if value := clean(fmt.Sprintf(format, args...)); value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	line("item", "%d", it.Number)
	line("message", "%s", it.ID)
	line("state", "%s", it.State)
	line("age", "%s", span(it.Age))
	if it.State == spool.Pending || it.State == spool.Settling {
		line("next try", "%s", span(it.Wait))
	}
	line("reason", "%s", it.Reason)
	line("announced", "by %s as %s, last %s", it.Source, it.Kind, ago(it.Noticed))
	if it.Bucket != "" {
		line("object", "s3://%s/%s", it.Bucket, it.Key)
	}
	line("version", "%s", it.Version)
	if it.Size > 0 {
		line("size", "%d bytes", it.Size)
	}
	if it.Receipt {
		line("sender", "<%s>", it.Sender)
	}
	line("verdicts", "%s", it.Verdicts)
	for _, r := range it.Recipients {
		line("recipient", "%s", r.Address)
	}
	for _, d := range it.Deliveries {
		line("mailbox", "%s: %s after %d tries %s", d.Mailbox, d.State, d.Attempts, d.Reply)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// span is a duration for people; a past one is "now".
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d <= 0:
		return "now"
	case d < time.Minute:
		return d.String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// ago is how long it has been, for people.
func ago(d time.Duration) string {
	if text := span(d); text != "now" {
		return text + " ago"
	}
	return "just now"
}

func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-3]) + "..."
}
