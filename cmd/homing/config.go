package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/homing-mail/homing/courier"
)

// Config is what the environment asks for. The tags of a field are the only
// place where a variable's name, default and meaning are written down: `homing
// config` and the README's test read them here.
//
// A variable that is set to nothing has its default, as compose files with
// ${HOMING_X:-} want it; where the tag empty says so, nothing is a value of its
// own. That is why defaults are not env's envDefault, which cannot tell these
// apart. The tag secret keeps a value out of all output; binary leaves the last
// line end of a file in it.
type Config struct {
	DeliverTo          destination   `env:"HOMING_DELIVER_TO" default:"lmtp:/run/dovecot/lmtp" doc:"where mail goes: lmtp:/path (unix socket), lmtp://host:port, lmtps://host:port, or maildir:/path/%d/%n (%u address, %n local part, %d domain)"`
	LMTPConnections    count         `env:"HOMING_LMTP_CONNECTIONS" default:"4" doc:"connections to Dovecot, each for one mailbox at a time"`
	LMTPExclusive      bool          `env:"HOMING_LMTP_EXCLUSIVE" default:"false" doc:"true for replicas (docs/replicas.md): a message goes to Dovecot only while a second session shows that no other homing delivers to its mailbox; needs lmtp_user_concurrency_limit = 2 there, and twice the connections"`
	Recipients         string        `env:"HOMING_RECIPIENTS" doc:"rules pattern=mailbox, separated by commas or line ends, first match wins; none: addresses as they are. HOMING_RECIPIENTS_FILE is read again when it changes"`
	FallbackMailbox    mailbox       `env:"HOMING_FALLBACK_MAILBOX" doc:"mailbox for a message whose own is refused for good; none: it is held"`
	Listen             listenAddress `env:"HOMING_LISTEN" default:":8025" empty:"none" doc:"address of the webhook; empty: no webhook"`
	WebhookPath        urlPath       `env:"HOMING_WEBHOOK_PATH" default:"/sns" doc:"path of the webhook"`
	TLSCertPath        filePath      `env:"HOMING_TLS_CERT_PATH" doc:"PEM file of the webhook's certificate chain: serve HTTPS; read again when it changes"`
	TLSKeyPath         filePath      `env:"HOMING_TLS_KEY_PATH" doc:"PEM file of its key"`
	SNSTopics          topics        `env:"HOMING_SNS_TOPICS" doc:"ARNs of the topics that may speak to homing; required with a webhook, and with queues unless HOMING_SQS_RAW is true"`
	SNSConfirm         bool          `env:"HOMING_SNS_CONFIRM" default:"true" doc:"confirm subscriptions of these topics"`
	SQSQueues          queueURLs     `env:"HOMING_SQS_QUEUES" doc:"URLs of SQS queues to pull notifications from"`
	SQSRaw             bool          `env:"HOMING_SQS_RAW" default:"false" doc:"take unsigned messages from the queues (raw message delivery, S3 or EventBridge straight into SQS): references to objects only"`
	DLQ                queueURL      `env:"HOMING_DLQ" doc:"URL of the subscription's dead-letter queue: what is in it is delivered"`
	Postmaster         mailbox       `env:"HOMING_POSTMASTER" doc:"mailbox for homing's own reports: what came back from the dead-letter queue, and once a day what is held; none: no reports"`
	Buckets            places        `env:"HOMING_BUCKETS" doc:"bucket or bucket/prefix, the only places messages are fetched from; required"`
	SweepInterval      time.Duration `env:"HOMING_SWEEP_INTERVAL" default:"15m" doc:"how often the buckets are listed for mail of the last 14 days that no notification announced, one request for 1,000 objects; 0: never"`
	SweepGrace         time.Duration `env:"HOMING_SWEEP_GRACE" default:"10m" doc:"how long an object is left to its notification"`
	FormPath           urlPath       `env:"HOMING_FORM_PATH" doc:"path on HOMING_LISTEN to which the edge worker of a contact form posts (docs/contact-form.md); empty: no form"`
	FormSecret         formSecret    `env:"HOMING_FORM_SECRET" secret:"true" doc:"what the edge worker signs with, at least 32 characters"`
	FormKey            formKeys      `env:"HOMING_FORM_KEY" secret:"true" binary:"true" doc:"OpenPGP public keys that the form's messages may be encrypted to, the page's; usually as HOMING_FORM_KEY_FILE"`
	FormMailbox        mailbox       `env:"HOMING_FORM_MAILBOX" doc:"mailbox of the form's messages; no recipient rule maps it"`
	FormFrom           mailbox       `env:"HOMING_FORM_FROM" doc:"their From and envelope sender; none: HOMING_FORM_MAILBOX"`
	FormDeliverTo      smtpServer    `env:"HOMING_FORM_DELIVER_TO" doc:"submission server that sends the form's messages to HOMING_FORM_MAILBOX elsewhere: submission://user@host:587 (STARTTLS) or submissions://user@host:465 (TLS); empty: they go to HOMING_DELIVER_TO"`
	FormPassword       formPassword  `env:"HOMING_FORM_PASSWORD" secret:"true" doc:"password of the user there, or a token"`
	AfterDelivery      afterDelivery `env:"HOMING_AFTER_DELIVERY" default:"keep" doc:"what becomes of a delivered object: keep, delete, tag (homing=delivered), move:prefix/, or encrypt (with OpenPGP, in place) and encrypt:prefix/"`
	AfterDeliveryDelay time.Duration `env:"HOMING_AFTER_DELIVERY_DELAY" default:"24h" doc:"how long after the last notice of a message"`
	PGPKey             string        `env:"HOMING_PGP_KEY" secret:"true" binary:"true" doc:"secret OpenPGP keys, armored or binary, one after another: messages that were stored encrypted to them are decrypted. Usually HOMING_PGP_KEY_FILE, which is read when homing starts"`
	PGPPassphrase      string        `env:"HOMING_PGP_PASSPHRASE" secret:"true" doc:"passphrase of these keys, where they have one"`
	PGPEncryptTo       sealKeys      `env:"HOMING_PGP_ENCRYPT_TO" secret:"true" binary:"true" doc:"OpenPGP public keys, armored or binary, that HOMING_AFTER_DELIVERY=encrypt encrypts to; usually as HOMING_PGP_ENCRYPT_TO_FILE"`
	MaxMessage         byteSize      `env:"HOMING_MAX_MESSAGE" default:"64MiB" doc:"larger messages are held"`
	Memory             byteSize      `env:"HOMING_MEMORY" default:"256MiB" doc:"message bytes in memory at a time, over all deliveries"`
	StateDir           filePath      `env:"HOMING_STATE_DIR" default:"/var/lib/homing" doc:"directory of the spool, homing.db"`
	RetryFor           time.Duration `env:"HOMING_RETRY_FOR" default:"5d" doc:"how long a message is tried again before it is held"`
	History            time.Duration `env:"HOMING_HISTORY" default:"30d" doc:"how long deliveries are remembered, to recognise repetitions"`
	MetricsListen      listenAddress `env:"HOMING_METRICS_LISTEN" default:":9025" empty:"none" doc:"address of /metrics, /healthz and /readyz; empty: none of them"`
	LogLevel           logLevel      `env:"HOMING_LOG_LEVEL" default:"info" doc:"debug, info, warn or error"`
	LogFormat          logFormat     `env:"HOMING_LOG_FORMAT" default:"text" doc:"text or json"`
	S3PathStyle        bool          `env:"HOMING_S3_PATH_STYLE" default:"false" doc:"ask S3 for host/bucket instead of bucket.host, as servers other than AWS need it"`

	// RecipientsFile is the path in HOMING_RECIPIENTS_FILE; empty where the
	// rules are not in a file. Recipients holds what was in it.
	RecipientsFile string

	rules *courier.Rules // Recipients, parsed
	ring  func() keyring // see keyring
}

// loadConfig reads the variables that serve needs from environ, entries of the
// form NAME=value of which the last of a name counts. Its error is a
// *configError with all mistakes.
func loadConfig(environ []string) (*Config, error) {
	cfg, wrong := parseConfig(environ)
	wrong = addNew(wrong, cfg.keyring().wrong)
	return cfg.or(addNew(wrong, cfg.missing()))
}

// loadPartialConfig is loadConfig for a command that does not serve: a variable
// that is there must be right, but none is required. Keys are judged when they
// are needed: see keyring.
func loadPartialConfig(environ []string) (*Config, error) {
	cfg, wrong := parseConfig(environ)
	return cfg.or(wrong)
}

func parseConfig(environ []string) (*Config, []mistake) {
	cfg := new(Config)
	settings, wrong := loadInto(cfg, environ)
	cfg.RecipientsFile = settings["HOMING_RECIPIENTS"].file
	var err error
	if cfg.rules, err = courier.ParseRules(cfg.Recipients); err != nil {
		wrong = append(wrong, mistake{"HOMING_RECIPIENTS", fmt.Errorf("HOMING_RECIPIENTS: %w", err)})
	}
	cfg.ring = sync.OnceValue(func() keyring { return cfg.readKeys(settings["HOMING_PGP_KEY"]) })
	return cfg, addNew(wrong, cfg.contradictions())
}

func (c *Config) or(wrong []mistake) (*Config, error) {
	if len(wrong) > 0 {
		return nil, &configError{wrong}
	}
	return c, nil
}

// loadInto fills target, a pointer to a struct with the tags of Config.
func loadInto(target any, environ []string) (map[string]setting, []mistake) {
	known := variablesOf(reflect.TypeOf(target).Elem())
	settings, wrong := readEnvironment(known, environ)
	values := make(map[string]string, len(known))
	for name, s := range settings {
		values[name] = s.value
	}
	err := env.ParseWithOptions(target, env.Options{Environment: values, FuncMap: parsers()})
	return settings, append(wrong, parseMistakes(known, settings, err)...)
}

// variable is one row of the README's table.
type variable struct {
	Name    string
	Default string // empty where there is none
	Meaning string
	Secret  bool // its value is never shown

	field      string // of the struct
	takesEmpty bool   // set to nothing it means nothing, not its default
	binary     bool   // a line end at the end of its file is part of it
}

// variables lists all variables in the order of the README.
func variables() []variable { return variablesOf(reflect.TypeFor[Config]()) }

func variablesOf(config reflect.Type) []variable {
	var all []variable
	for field := range config.Fields() {
		name, tagged := field.Tag.Lookup("env")
		if !tagged {
			continue
		}
		_, takesEmpty := field.Tag.Lookup("empty")
		all = append(all, variable{
			Name:       name,
			Default:    field.Tag.Get("default"),
			Meaning:    field.Tag.Get("doc"),
			Secret:     field.Tag.Get("secret") == "true",
			field:      field.Name,
			takesEmpty: takesEmpty,
			binary:     field.Tag.Get("binary") == "true",
		})
	}
	return all
}

// configError holds everything that is wrong with the environment, one mistake a
// line.
type configError struct{ mistakes []mistake }

func (e *configError) Error() string {
	lines := make([]string, len(e.mistakes))
	for i, m := range e.mistakes {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// mistake is one thing that is wrong with one variable. Its text begins with the
// variable's name and ends with what would be right.
type mistake struct {
	variable string
	error
}

// parseMistakes turns what env says about fields into words about variables.
func parseMistakes(known []variable, settings map[string]setting, err error) []mistake {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return nil
	}
	var wrong []mistake
	for _, err := range all.Errors {
		var field env.ParseError
		if !errors.As(err, &field) {
			wrong = append(wrong, mistake{"", err}) // a field of a type that nothing parses: a test finds it
			continue
		}
		for _, v := range known {
			if v.field == field.Name {
				wrong = append(wrong, v.mistakes(settings[v.Name], field.Err)...)
			}
		}
	}
	return wrong
}

// mistakes says what is wrong with a value: for a list, with each of its parts.
func (v variable) mistakes(s setting, err error) []mistake {
	parts, isList := err.(partErrors)
	if !isList {
		parts = partErrors{{s.value, err}}
	}
	wrong := make([]mistake, len(parts))
	for i, p := range parts {
		text := v.Name
		if !v.Secret {
			text += "=" + quote(p.part)
		}
		if s.file != "" {
			text += fmt.Sprintf(" (from %s_FILE, %s)", v.Name, quote(s.file))
		}
		wrong[i] = mistake{v.Name, fmt.Errorf("%s: %w", text, p.err)}
	}
	return wrong
}
