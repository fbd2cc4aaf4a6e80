// Package phrase holds the texts that reports of drills have in English, and what they are in Chinese. Who writes one renders it from the same constant by which
// a page recognises it, so the two cannot drift apart. Texts of engines, of policies and of errors from elsewhere are not here, and stay as they are.
package phrase

import "fmt"

// Phrase is a text in English with places for values, as in fmt:
//
//	%d    a number
//	%s    a name or a value, which is the same in every language
//	%1s   a value without blanks
//	%20s  a time as in RFC 3339
//	%v    another text, which may be a phrase
type Phrase string

// Say renders a phrase in English.
func (p Phrase) Say(values ...any) string { return fmt.Sprintf(string(p), values...) }

// Noun is what is counted.
type Noun string

// Count is a number of them, in English.
func (n Noun) Count(k int) string {
	if k == 1 {
		return "1 " + string(n)
	}
	return fmt.Sprintf("%d %ss", k, n)
}

// OfKind is how many objects of a kind a database has, in English.
func OfKind(kind string, n int) string { return fmt.Sprintf("%s %d", kind, n) }
