package crypto

import (
	"fmt"
	"io"
	"log/slog"
)

// What holds a secret prints and logs as these words. Only encoding it on purpose, for a key file, shows it.
const (
	rootWords  = "(root secret)"
	hostWords  = "(host secrets)"
	epochWords = "(epoch secret)"
	idKeyWords = "(ID key)"
	keysWords  = "(host keys)"
)

func redact(f fmt.State, words string) { _, _ = io.WriteString(f, words) } // fmt keeps no error of a State

// LogValue keeps the secret out of logs.
func (RootSecret) LogValue() slog.Value { return slog.StringValue(rootWords) }

// Format keeps the secret out of messages, whatever the verb.
func (RootSecret) Format(f fmt.State, _ rune) { redact(f, rootWords) }

// LogValue keeps the secrets out of logs.
func (HostSecrets) LogValue() slog.Value { return slog.StringValue(hostWords) }

// Format keeps the secrets out of messages, whatever the verb.
func (HostSecrets) Format(f fmt.State, _ rune) { redact(f, hostWords) }

// LogValue keeps the secret out of logs.
func (EpochSecret) LogValue() slog.Value { return slog.StringValue(epochWords) }

// Format keeps the secret out of messages, whatever the verb.
func (EpochSecret) Format(f fmt.State, _ rune) { redact(f, epochWords) }

// LogValue keeps the key out of logs.
func (IDKey) LogValue() slog.Value { return slog.StringValue(idKeyWords) }

// Format keeps the key out of messages, whatever the verb.
func (IDKey) Format(f fmt.State, _ rune) { redact(f, idKeyWords) }

// LogValue keeps the keys out of logs: an age identity prints itself.
func (HostKeys) LogValue() slog.Value { return slog.StringValue(keysWords) }

// Format keeps the keys out of messages, whatever the verb.
func (HostKeys) Format(f fmt.State, _ rune) { redact(f, keysWords) }
