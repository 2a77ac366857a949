package main

import (
	"net/http"

	"github.com/homing-mail/homing/form"
	"github.com/homing-mail/homing/submission"
	"github.com/homing-mail/homing/webhook"
)

// submissionConfig is where the form's messages leave.
func submissionConfig(cfg *Config) submission.Config {
	to := cfg.FormDeliverTo
	return submission.Config{Address: to.address, Implicit: to.implicit, User: to.user, Password: string(cfg.FormPassword), Sender: cfg.formFrom()}
}

// front answers at HOMING_LISTEN: SNS, and the edge worker of a contact form.
func (a *app) front() (http.Handler, error) {
	hook := http.NotFoundHandler()
	if len(a.cfg.SNSTopics) > 0 {
		hook = webhook.New(webhook.Config{
			Path: string(a.cfg.WebhookPath), Topics: a.cfg.SNSTopics, Confirm: a.cfg.SNSConfirm,
			Verifier: a.verifier, Intake: a.intake, Observer: a.metrics, Log: a.log,
		})
	}
	if a.cfg.FormPath == "" {
		return hook, nil
	}
	receiver, err := form.New(form.Config{
		Secret: []byte(a.cfg.FormSecret), Keys: a.cfg.FormKey.ids, Mailbox: string(a.cfg.FormMailbox), From: a.cfg.formFrom(),
		Spool: a.spool, Observer: a.metrics, Log: a.log,
	})
	if err != nil {
		return nil, misconfigured("HOMING_FORM_KEY", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == string(a.cfg.FormPath) {
			receiver.ServeHTTP(w, r)
		} else {
			hook.ServeHTTP(w, r)
		}
	}), nil
}
