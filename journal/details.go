package journal

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var errNoDetails = errors.New("no details")

// Check reports whether the details that readers rely on are there. It is no proof of origin: Chain.Append verifies that.
func (r *Record) Check() error {
	complete := true
	switch r.Type {
	case Snapshot:
		complete = r.Snapshot != nil
	case Drop:
		complete = r.Drop != nil && !slices.ContainsFunc(r.Drop.Seqs(), func(seq uint64) bool { return seq >= r.Seq })
	case Hold:
		complete = r.Hold != nil && (r.Hold.Source == "") != (len(r.Hold.Snapshots) == 0)
	case Release:
		complete = r.Release != nil && r.Release.Hold < r.Seq
	case Condemn:
		complete = r.Condemn != nil
	case Log:
		complete = r.Log != nil
	case Sweep:
		complete = r.Sweep != nil
	case Certify:
		complete = r.Certify != nil
	case Revoke:
		complete = r.Revoke != nil
	case Drill, Review, Policy, Restore, Denied:
		complete = r.noted()
	}
	if !complete || r.Via != nil && !r.noted() {
		return errNoDetails
	}
	return r.lists()
}

// noted reports whether the details are there of what people and programs note.
func (r *Record) noted() bool {
	switch r.Type {
	case Drill:
		return r.Drill != nil && !notDigest(r.Drill.Report)
	case Review:
		return r.Review != nil && !notDigest(r.Review.Report)
	case Policy:
		return r.Policy != nil && (r.Policy.Digest == "" || !notDigest(r.Policy.Digest))
	case Restore:
		return r.Restore != nil
	case Denied:
		return r.Denied != nil
	}
	return false
}

// When is the time at which it happened, UTC: before it was recorded where it had to wait for that, and never behind it.
func (r *Record) When() time.Time {
	if r.Happened != nil && r.Happened.Before(r.Time) {
		return r.Happened.UTC()
	}
	return r.Time.UTC()
}

// Noted is what a record may say that was noted, by whoever is trusted with no more than that: its type, its details, who, why and when.
func (r *Record) Noted() Record {
	n := Record{Type: r.Type, By: r.By, From: r.From, Reason: r.Reason, Happened: r.Happened, Note: r.Note}
	switch r.Type {
	case Drill:
		n.Drill = r.Drill
	case Review:
		n.Review = r.Review
	case Policy:
		n.Policy = r.Policy
	case Restore:
		n.Restore = r.Restore
	case Denied:
		n.Denied = r.Denied
	}
	return n
}

// lists checks what a condemn or a sweep lists.
func (r *Record) lists() error {
	for _, b := range []*PacksBody{r.Condemn, r.Sweep} {
		if b != nil && slices.ContainsFunc(slices.Concat(b.Packs, b.Indexes), notDigest) {
			return errors.New("it lists something that is no digest")
		}
		if b != nil && slices.ContainsFunc(b.Logs, notLog) {
			return errors.New("it lists something that is no object of a log")
		}
	}
	return nil
}

// Document is the SHA-256, hex, of the text that the record belongs to; false where there is none.
func (r *Record) Document() (digest string, ok bool) {
	switch {
	case r.Drill != nil:
		digest = r.Drill.Report
	case r.Policy != nil:
		digest = r.Policy.Digest
	}
	return digest, digest != ""
}

// notDigest reports whether s is anything but the SHA-256 in an object's name: readers make names of it.
func notDigest(s string) bool { return len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" }

// notLog reports whether s cannot be what stands behind "log/" in an object's name.
func notLog(s string) bool {
	return len(s) > 200 || strings.Count(s, "/") != 1 || strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz-/") != ""
}

// maxWord bounds what somebody else chose and a record repeats, in bytes.
const maxWord = 200

// Plain is what a record may repeat of a text that somebody else chose: in one line, without control characters, and not long.
func Plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= maxWord {
		return s
	}
	s = s[:maxWord]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
