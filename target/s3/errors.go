package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// storeError is what a store, or the way to it, answered: in the store's words, and with what to do next.
type storeError struct {
	text, hint string
	kind       error // what it satisfies; may be nil
	cause      error
}

func (e *storeError) Error() string {
	if e.hint == "" {
		return e.text
	}
	return e.text + ": " + e.hint
}

func (e *storeError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// fail says what was done to what, and why it failed; nil stays nil.
func (t *Target) fail(ctx context.Context, verb, name string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err() // whatever else came of it
	}
	return fmt.Errorf("%s %q in %s: %w", verb, name, t.place, t.explain(verb, err))
}

// explain turns an error of the SDK into a short one.
func (t *Target) explain(verb string, err error) error {
	var api smithy.APIError
	var creds credentialsError
	var sent *url.Error
	var done *storeError
	switch {
	case errors.As(err, &done):
		return err
	case errors.As(err, &creds):
		return &storeError{"there are no usable credentials", "give access_key with secret_key_file, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: " + creds.Error(), fs.ErrPermission, err}
	case errors.As(err, &api):
		return t.explainAPI(verb, api, err)
	case errors.As(err, &sent):
		return t.unreachable(sent, err)
	}
	return err
}

// explainAPI adds what to do about an answer of the store.
func (t *Target) explainAPI(verb string, api smithy.APIError, err error) error {
	c := api.ErrorCode()
	if c == "NoSuchKey" || c == "NotFound" {
		return fs.ErrNotExist
	}
	e := &storeError{text: fmt.Sprintf("the store says %s", c), cause: err}
	if m := api.ErrorMessage(); m != "" && m != c {
		e.text += fmt.Sprintf(" (%s)", m)
	}
	if region := rightRegion(api.ErrorMessage(), err); region != "" && region != t.Region {
		e.hint = fmt.Sprintf("the bucket is in region %s: set region to it", region)
		return e
	}
	switch c {
	case "AccessDenied", "Forbidden", "AllAccessDisabled", "UnauthorizedAccess":
		e.kind, e.hint = fs.ErrPermission, "the credentials need the right to "+t.rights(verb)
	case "InvalidAccessKeyId":
		e.kind, e.hint = fs.ErrPermission, "check "+t.whence("access_key")+": is it of this store?"
	case "SignatureDoesNotMatch":
		e.kind, e.hint = fs.ErrPermission, "the secret key does not belong to the access key: check "+t.whence("secret_key_file")
	default:
		e.hint = hints[c]
		if t.SSE != "" && (c == "NotImplemented" || c == "InvalidArgument" || strings.HasPrefix(c, "KMS.")) {
			e.hint = "if the store does not encrypt with sse: " + t.SSE + ", take it out; Lifeboat encrypts by itself anyway"
		}
	}
	return e
}

// whence is where the credentials are from: a setting, if they are in the configuration.
func (t *Target) whence(setting string) string {
	switch {
	case t.AccessKey != "":
		return setting
	case t.Profile != "":
		return "profile " + t.Profile
	}
	return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the default profile"
}

// hints says what to do about answers of stores.
var hints = map[string]string{
	"NoSuchBucket":                 "check bucket and endpoint, or create the bucket",
	"PermanentRedirect":            "the bucket is in another region or behind another endpoint: check both",
	"MovedPermanently":             "the bucket is in another region or behind another endpoint: check both",
	"AuthorizationHeaderMalformed": "check region",
	"SecondLevelDomainForbidden":   "this store wants the bucket in the host's name: set path_style to false",
	"RequestTimeTooSkewed":         "set this host's clock: it and the store's differ by more than the store accepts",
	"ExpiredToken":                 "the credentials have expired: renew them, and prefer ones that renew themselves (a role)",
	"InvalidToken":                 "the session token is not one of these credentials: renew them",
	"TokenRefreshRequired":         "the credentials have expired: renew them",
	"SlowDown":                     "the store is overloaded: try again later",
	"ServiceUnavailable":           "the store is overloaded or down: try again later",
	"BadDigest":                    "the object is damaged on its way, again and again: check the network and this host's memory",
	"XAmzContentSHA256Mismatch":    "the object is damaged on its way, again and again: check the network and this host's memory",
	"InvalidRequest":               "if the bucket has no object lock, take object_lock out or choose another bucket",
	"InsufficientStorage":          "the store is full",
	"QuotaExceeded":                "the store's quota is used up: raise it, or shorten the retention",
	"EntityTooLarge":               "the store takes no object of this size",
	"InvalidStorageClass":          "the bucket's storage class does not take this object",
	"InvalidObjectState":           "the object is in an archive: restore it to the standard storage class first",
}

// rights names the permissions that a verb needs, as policies write them.
func (t *Target) rights(verb string) string {
	of := map[string]string{
		"put": "s3:PutObject", "replace": "s3:PutObject", "get": "s3:GetObject and s3:ListBucket", "list": "s3:ListBucket",
		"delete": "s3:GetObject and s3:DeleteObject", "retain": "s3:PutObjectRetention and s3:GetObjectRetention",
		"read the retention of": "s3:GetObjectRetention", "clean": "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload",
	}[verb]
	if t.Lock.For > 0 && of == "s3:PutObject" {
		of += ", s3:PutObjectRetention"
	}
	if t.SSE == "aws:kms" && of != "" {
		of += ", and to use the KMS key"
	}
	return of
}

var regionPattern = regexp.MustCompile(`expecting ['"]([a-z0-9-]+)['"]`)

// rightRegion is the region that the store names in place of the one asked for.
func rightRegion(message string, err error) string {
	if m := regionPattern.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && slices.Contains([]int{http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest}, r.HTTPStatusCode()) {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// code is the code of the store's answer; empty where it gave none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is the HTTP status of the store's answer; zero where it gave none.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// attempt counts the requests up to the one that the store answered with err; zero where that is not known.
func attempt(err error) (n int) {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && r.Response.Request != nil {
		if _, err := fmt.Sscanf(r.Response.Request.Header.Get("Amz-Sdk-Request"), "attempt=%d;", &n); err != nil {
			return 0
		}
	}
	return n
}
