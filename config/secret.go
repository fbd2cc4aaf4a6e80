package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

const redacted = "[redacted]"

// Secret is a text that is never printed: every way to format, log or marshal it yields "[redacted]".
type Secret string

// Reveal is the text itself, for handing to what needs it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string { return redacted }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the secret out of JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format keeps the secret out of every verb, %x and %#v included.
func (s Secret) Format(f fmt.State, _ rune) { printRedacted(f, redacted) }

// DSN says how to reach a database and may hold a password. What is printed is where it points, if it is a URL, without
// the password and without options; anything else is "[redacted]".
type DSN string

// Reveal is the DSN itself, for handing to a driver.
func (d DSN) Reveal() string { return string(d) }

func (d DSN) String() string {
	if d == "" {
		return ""
	}
	u, err := url.Parse(string(d))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return redacted
	}
	// A new URL of the parts that are safe: options can hold passwords too.
	where := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if name := u.User.Username(); name != "" {
		where.User = url.User(name)
	}
	return where.String()
}

// LogValue keeps the password out of logs.
func (d DSN) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText keeps the password out of JSON.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Format keeps the password out of every verb.
func (d DSN) Format(f fmt.State, _ rune) { printRedacted(f, d.String()) }

// printRedacted has no way to report a failing writer, and fmt needs none: the writer's owner sees it.
func printRedacted(f fmt.State, s string) { _, _ = io.WriteString(f, s) }
