package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

const (
	maxAttempts = 6 // of a request; with the pauses between them, about six seconds
	firstPause  = 100 * time.Millisecond
	dialTimeout = 15 * time.Second
	unasked     = 128 << 10 // bytes that are sent without asking first: a store that refuses more before it has read them breaks off the connection
)

// connect makes the client.
func (t *Target) connect(ctx context.Context) error {
	client, err := t.http()
	if err != nil {
		return err
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithLogger(logging.Nop{}),
	}
	if t.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(t.Profile))
	}
	if t.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(t.AccessKey, t.SecretKey, "")))
	}
	if t.Region == "" && t.Endpoint != "" {
		t.Region = "us-east-1"
	}
	if t.Region != "" {
		options = append(options, config.WithRegion(t.Region))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		var unknown config.SharedConfigProfileNotExistError
		if errors.As(err, &unknown) {
			return fmt.Errorf("there is no profile %s in AWS_CONFIG_FILE (~/.aws/config) and AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials): correct profile", t.Profile)
		}
		return &storeError{"read the settings of the AWS SDK: " + strings.Join(strings.Fields(err.Error()), " "), "correct AWS_CONFIG_FILE (~/.aws/config) or AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials)", nil, err}
	}
	if c.Region == "" {
		return errors.New("no region is set: add region, or AWS_REGION to the environment")
	}
	if c.Credentials != nil {
		c.Credentials = aws.NewCredentialsCache(explaining{c.Credentials})
	}
	t.Region = c.Region
	t.client = s3.NewFromConfig(c, t.options)
	return nil
}

func (t *Target) options(o *s3.Options) {
	if t.Endpoint != "" {
		o.BaseEndpoint = &t.Endpoint
	}
	o.UsePathStyle = t.pathStyle()
	// Trailing checksums need a chunked upload that several stores refuse. A signed SHA-256 or Content-MD5 does the same.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	o.ContinueHeaderThresholdBytes = unasked
	o.Retryer = retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
		o.StandardOptions = append(o.StandardOptions, func(o *retry.StandardOptions) {
			o.MaxAttempts, o.Backoff = maxAttempts, retry.BackoffDelayerFunc(pause)
			o.RateLimiter = ratelimit.None // attempts are bounded; a quota across requests would end a long restore
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(hopeless)}, o.Retryables...)
			o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{
				"ConditionalRequestConflict": {}, "OperationAborted": {}, "InternalError": {}, "ServiceUnavailable": {},
				"BadDigest": {}, mismatch: {}, // the bytes were damaged on their way
			}})
		})
	})
}

// pause is longer after each failure, and random, so that many clients of a store do not come back at once. Where the store says
// that it is overloaded, the adaptive mode slows all requests down as well.
func pause(failures int, _ error) (time.Duration, error) {
	return rand.N(firstPause << min(failures, maxAttempts)), nil
}

// pathStyle is whether the bucket is named in the path of a URL or in its host.
func (t *Target) pathStyle() bool {
	if t.PathStyle != nil {
		return *t.PathStyle
	}
	u, err := url.Parse(t.Endpoint)
	if t.Endpoint == "" || err != nil {
		return false
	}
	host := u.Hostname()
	return !strings.HasSuffix(host, ".aliyuncs.com") && !strings.HasSuffix(host, ".myqcloud.com")
}

// http is the client below the SDK's. It follows no redirection: a request is signed for one host.
func (t *Target) http() (*awshttp.BuildableClient, error) {
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSHandshakeTimeout, tr.IdleConnTimeout = dialTimeout, t.Patience/2
		tr.DisableCompression = true
		if roots != nil {
			tr.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return t.Limit.Conn(&conn{Conn: c, patience: t.Patience}), nil
		}
	}), nil
}

// roots are the system's authorities and those of CAFile; nil where there is none.
func (t *Target) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s: there is no certificate in it", t.CAFile)
	}
	return pool, nil
}

// explaining marks the errors of a provider of credentials.
type explaining struct{ aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (x explaining) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := x.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, credentialsError{err}
	}
	return c, nil
}
