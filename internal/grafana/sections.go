package main

// The sections of the dashboard, from top to bottom. What is asked for in words
// of PromQL is compared with the table of metrics by the tests.

// glance answers: is mail arriving, how late, what is stuck, why.
func (b *board) glance() {
	b.section("At a glance")
	const w, h = 4, 4
	last := stat("Last mail delivered", "How long ago the destination last took a message.", "s",
		`time() - max(homing_last_delivery_timestamp_seconds{`+here+`} > 0)`, step{Color: "blue"})
	last.FieldConfig.Defaults.NoValue = "none yet"
	last.Links = []link{remedy("homingnomail")}
	b.add(w, h, last)

	delivered := stat("Delivered", "Deliveries in the time range of the dashboard.", "short",
		`sum(increase(homing_deliveries_total{result=~"delivered|fallback",`+here+`}[$__range]))`, step{Color: "blue"})
	delivered.FieldConfig.Defaults.Decimals = new(int)
	b.add(w, h, delivered)

	late := stat("95 % of the mail within", "From SES's receipt to the destination's acceptance, in the time range of the dashboard.", "s",
		`histogram_quantile(0.95, sum by (le) (increase(homing_latency_seconds_bucket{`+here+`}[$__range])))`, calm(), from(60, "yellow"), from(600, "red"))
	late.FieldConfig.Defaults.NoValue = "no mail"
	b.add(w, h, late)

	b.stat("Oldest mail that waits", "homing_oldest_message_seconds", "s", `max(homing_oldest_message_seconds{`+here+`})`,
		"homingmailwaits", calm(), from(600, "yellow"), from(3600, "red"))
	b.stat("Held for a person", "homing_messages", "short", `sum(homing_messages{state="held",`+here+`})`, "homingheld", calm(), from(1, "red"))
	b.add(w, h, stat("Alerts that fire", "Of the rules in contrib/prometheus; which ones is in the panel below.", "short",
		`count(ALERTS{alertname=~"Homing.+",alertstate="firing"}) or vector(0)`, calm(), from(1, "red")))

	up := stat("homing", "Whether every homing answers Prometheus.", "",
		`min(up{`+here+`} and on (job, instance) max_over_time(homing_build_info{`+here+`}[1d]))`, step{Color: "red"}, from(1, "green"))
	up.FieldConfig.Defaults.Mappings, up.Links = words("up", "down"), []link{remedy("homingdown")}
	b.add(w, h, up)
	dovecot := stat("Dovecot", b.row("homing_destination_up", "gauge").Help, "", `min(homing_destination_up{`+here+`})`, step{Color: "red"}, from(1, "green"))
	dovecot.FieldConfig.Defaults.Mappings, dovecot.Links = words("up", "away"), []link{remedy("homingdestinationaway")}
	b.add(w, h, dovecot)
	b.recent("Failed fetches", "From S3, in the time range of the dashboard.", `homing_fetch_total{result!~"ok|canceled",`+here+`}`, "homingfetchdenied")
	b.recent("Back from the dead-letter queue", "SNS could not reach the webhook, in the time range of the dashboard.",
		`homing_dlq_messages_total{result="recovered",`+here+`}`, "homingdeadletters")
	b.recent("Found by the sweep", "Mail that no notification announced, in the time range of the dashboard.",
		`homing_sweep_objects_total{result="found",`+here+`}`, "homingsweepfindsmail")
	b.stat("Free disk", "homing_disk_free_bytes", "bytes", `min(homing_disk_free_bytes{`+here+`})`, "homingdisklow",
		step{Color: "red"}, from(1<<30, "yellow"), from(4<<30, "green"))
}

// stat shows the present value of a gauge, with the way out where it is bad.
func (b *board) stat(title, metric, unit, expr, anchor string, steps ...step) {
	p := stat(title, b.row(metric, "gauge").Help, unit, expr, steps...)
	p.Links = []link{remedy(anchor)}
	b.add(4, 4, p)
}

// recent counts what should not be.
func (b *board) recent(title, description, series, anchor string) {
	p := stat(title, description, "short", "sum(increase("+series+"[$__range]))", calm(), from(1, "orange"))
	p.FieldConfig.Defaults.Decimals = new(int)
	p.Links = []link{remedy(anchor)}
	b.add(4, 4, p)
}

func (b *board) arrival() {
	b.section("Is mail arriving?")
	b.events(8, "Notifications, by source", "homing_notifications_total", "source")
	b.events(8, "Notifications, by kind", "homing_notifications_total", "kind")
	b.events(8, "Notifications, by what became of them", "homing_notifications_total", "result")
	b.events(8, "Webhook answers", "homing_webhook_requests_total", "code")
	b.events(8, "Signature failures", "homing_signature_failures_total", "reason")
	b.events(8, "Contact form", "homing_form_requests_total", "result")
	alerts := lines("Alerts", "Those of contrib/prometheus that fire or are about to.", "short")
	alerts.query(`count by (alertname, alertstate) (ALERTS{alertname=~"Homing.+"})`, "{{alertname}} {{alertstate}}")
	alerts.FieldConfig.Defaults.NoValue = "none"
	alerts.Links = []link{external("What to do", repository+"/blob/main/docs/alerts.md")}
	b.add(8, 8, alerts)
}

func (b *board) latency() {
	b.section("How late is it?")
	b.heat(16, "From SES to the mailbox", "homing_latency_seconds")
	b.times(8, "From SES to the mailbox", "homing_latency_seconds")
}

func (b *board) fetch() {
	b.section("Fetch from S3 and decrypt")
	b.events(8, "Fetches", "homing_fetch_total", "result")
	b.times(8, "Time of a fetch", "homing_fetch_seconds")
	read := lines("Read from S3", b.row("homing_fetch_bytes_total", "counter").Help, "Bps")
	read.query(`sum(rate(homing_fetch_bytes_total{`+here+`}[$__rate_interval]))`, "bytes")
	b.add(8, 8, read)
	b.events(8, "Decryptions, by result", "homing_decrypt_total", "result")
	b.events(8, "Decryptions, by scheme", "homing_decrypt_total", "scheme")
	b.times(8, "Time of a decryption", "homing_decrypt_seconds")
}

func (b *board) delivery() {
	b.section("Deliver to Dovecot")
	b.events(8, "Deliveries", "homing_deliveries_total", "result")
	b.heat(8, "Time of a delivery", "homing_delivery_seconds")
	b.times(8, "Time of a delivery", "homing_delivery_seconds")
	b.level(8, "Connections", "homing_lmtp_connections", "short", `sum by (state) (homing_lmtp_connections{`+here+`})`, "{{state}}")
	up := switches("Destination", b.row("homing_destination_up", "gauge").Help, "up", "away")
	up.query(`homing_destination_up{`+here+`}`, "{{instance}}")
	up.query(`homing_form_destination_up{`+here+`}`, "{{instance}}, contact form")
	up.Links = []link{remedy("homingdestinationaway")}
	b.add(8, 8, up)
	b.level(8, "Since the last delivery", "homing_last_delivery_timestamp_seconds", "s",
		`time() - (homing_last_delivery_timestamp_seconds{`+here+`} > 0)`, "{{instance}}")
}

func (b *board) queue() {
	b.section("What is stuck?")
	b.level(8, "Messages in the spool", "homing_messages", "short", `sum by (state) (homing_messages{`+here+`})`, "{{state}}")
	b.level(8, "Oldest mail that waits", "homing_oldest_message_seconds", "s", `homing_oldest_message_seconds{`+here+`}`, "{{instance}}")
	b.level(8, "Message bytes in memory", "homing_memory_bytes", "bytes", `homing_memory_bytes{`+here+`}`, "{{instance}}")
	b.level(8, "Free on the spool's disk", "homing_disk_free_bytes", "bytes", `homing_disk_free_bytes{`+here+`}`, "{{instance}}")
	b.events(8, "Scrapes that could not read the spool", "homing_messages_read_errors_total")
}

func (b *board) deadLetters() {
	b.section("SQS and the dead-letter queue")
	b.events(8, "Dead letters", "homing_dlq_messages_total", "result")
	b.level(8, "Since the dead-letter queue was read", "homing_dlq_last_read_timestamp_seconds", "s",
		`time() - (homing_dlq_last_read_timestamp_seconds{`+here+`} > 0)`, "{{instance}}")
	b.events(8, "Failed requests to SQS", "homing_sqs_errors_total", "operation")
}

func (b *board) sweep() {
	b.section("The sweep of the buckets")
	b.events(8, "Sweeps", "homing_sweeps_total", "result")
	b.events(8, "Objects seen", "homing_sweep_objects_total", "result")
	b.events(8, "Requests to S3", "homing_sweep_requests_total", "op")
	b.times(8, "Time of a sweep", "homing_sweep_seconds")
	b.level(8, "Since the last whole sweep", "homing_sweep_last_timestamp_seconds", "s",
		`time() - (homing_sweep_last_timestamp_seconds{`+here+`} > 0)`, "{{instance}}")
}

func (b *board) afterwards() {
	b.section("After delivery")
	b.events(8, "Objects dealt with", "homing_after_delivery_total", "action", "result")
	b.events(8, "Reports to the postmaster", "homing_reports_total", "kind")
	b.level(8, "The webhook's certificate is good for", "homing_tls_certificate_expiry_timestamp_seconds", "s",
		`(homing_tls_certificate_expiry_timestamp_seconds{`+here+`} > 0) - time()`, "{{instance}}")
}

// process shows homing as the system sees it.
func (b *board) process() {
	b.section("The process")
	for _, part := range []struct{ title, description, unit, expr, legend string }{
		{"Processor", "Cores in use.", "short", `rate(process_cpu_seconds_total{` + here + `}[$__rate_interval])`, "{{instance}}"},
		{"Resident memory", "HOMING_MEMORY bounds the message bytes in it.", "bytes", `process_resident_memory_bytes{` + here + `}`, "{{instance}}"},
		{"Goroutines", "Concurrent activities.", "short", `go_goroutines{` + here + `}`, "{{instance}}"},
		{"Open files", "File descriptors, sockets among them.", "short", `process_open_fds{` + here + `}`, "{{instance}}"},
		{"Running since", "How long ago each was started.", "s", `time() - process_start_time_seconds{` + here + `}`, "{{instance}}"},
		{"Version", b.row("homing_build_info", "gauge").Help, "short", `homing_build_info{` + here + `}`, "{{instance}}: {{version}}, {{goversion}}"},
	} {
		p := lines(part.title, part.description, part.unit)
		p.query(part.expr, part.legend)
		b.add(8, 8, p)
	}
}
