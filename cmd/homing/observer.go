package main

import (
	"time"

	"github.com/homing-mail/homing/metrics"
)

// observer counts what the courier does.
type observer struct {
	*metrics.Metrics
	form bool // the destination is the contact form's own, and there is no other
}

// DestinationUp implements courier.Observer.
func (o observer) DestinationUp(up bool) {
	o.Metrics.DestinationUp(up)
	if o.form {
		o.FormDestinationUp(up)
	}
}

// Delivery implements courier.Observer.
func (o observer) Delivery(result string, took, latency time.Duration) {
	o.Delivered(result)
	o.DeliveryTime(took)
	if result == "delivered" {
		o.LastDelivery(time.Now())
	}
	if latency > 0 {
		o.Latency(latency)
	}
}

// connections counts LMTP connections.
type connections struct{ *metrics.Metrics }

// Connections implements lmtp.Observer.
func (c connections) Connections(state string, number int) { c.LMTPConnections(state, number) }
