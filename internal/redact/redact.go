// Package redact takes out of texts for people what looks like a secret, should one have slipped in in spite of all care.
package redact

import "regexp"

// Mark stands where something was taken out.
const Mark = "[redacted]"

var (
	passwordInURL = regexp.MustCompile(`(://[^\s/:@]*):[^\s@]*@`)
	assigned      = regexp.MustCompile(`(?i)\b(password|passwd|pwd|secret|token|access_token|secret_key|api_?key|sign)(\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&,;]+)`)
)

// Text is s without passwords in URLs and without what is assigned to a name of secrets.
func Text(s string) string {
	return assigned.ReplaceAllString(passwordInURL.ReplaceAllString(s, "$1:"+Mark+"@"), "$1$2"+Mark)
}
