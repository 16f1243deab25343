package s3probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/request"
	"github.com/aws/aws-sdk-go/service/s3"
)

// actionError names the permission that an operation needs.
type actionError struct {
	action string
	err    error
}

func (e *actionError) Error() string { return e.err.Error() }
func (e *actionError) Unwrap() error { return e.err }

// objectError is an object that a request for several could not delete.
type objectError struct{ key, code, message string }

func (e *objectError) Error() string   { return fmt.Sprintf("%q: %s: %s", e.key, e.code, e.message) }
func (e *objectError) Code() string    { return e.code }
func (e *objectError) Message() string { return e.message }
func (e *objectError) OrigErr() error  { return nil }

// code returns the S3 error code of err, "" for anything else.
func code(err error) string {
	var aerr awserr.Error
	if errors.As(err, &aerr) {
		return aerr.Code()
	}
	return ""
}

// clock compares the server's clock with ours.
func (p *prober) clock(r *request.Request) {
	if r.HTTPResponse == nil {
		return
	}
	if t, err := http.ParseTime(r.HTTPResponse.Header.Get("Date")); err == nil {
		p.skew = time.Since(t)
	}
}

// actionOf returns the permission that a step needs where its error names none.
func actionOf(step string) string {
	switch step {
	case StepBucket, StepList:
		return "s3:ListBucket"
	case StepPut, StepMultipart:
		return "s3:PutObject"
	case StepDelete:
		return "s3:DeleteObject"
	}
	return "s3:GetObject"
}

var expectedRegion = regexp.MustCompile(`expecting '?"?([a-z0-9-]+)`)

// explain turns a step's error into one for people, and says what to do about it.
func (p *prober) explain(ctx context.Context, step string, err error) (string, error) {
	action := actionOf(step)
	var ae *actionError
	if errors.As(err, &ae) {
		action = ae.action
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "is the address right, and does a firewall drop the packets? The registry would hang the same way",
			fmt.Errorf("no answer from %s within %s", p.where(), p.timeout)
	}
	if hint, ok, err := p.network(err); ok {
		return hint, err
	}
	var aerr awserr.Error
	if !errors.As(err, &aerr) {
		return "", err
	}
	text := strings.TrimSpace(strings.SplitN(aerr.Message(), "\n", 2)[0])
	said := fmt.Errorf("%s: %s", aerr.Code(), text)
	switch aerr.Code() {
	case s3.ErrCodeNoSuchBucket, "NotFound":
		return "make it with: regctl-setup s3 init", fmt.Errorf("bucket %q does not exist", p.s.Bucket)
	case s3.ErrCodeBucketAlreadyExists:
		return "names are shared by all customers of a provider: choose another", fmt.Errorf("bucket %q belongs to somebody else", p.s.Bucket)
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		return fmt.Sprintf("allow %s on %s in the key's policy; the registry needs s3:ListBucket, s3:GetBucketLocation, s3:ListBucketMultipartUploads on the bucket, and s3:PutObject, s3:GetObject, s3:DeleteObject, s3:ListMultipartUploadParts, s3:AbortMultipartUpload on what is in it", action, p.arn(action)),
			fmt.Errorf("access denied: the key may not %s (%w)", action, said)
	case "SignatureDoesNotMatch":
		return "the secret key is wrong, or it was mangled on its way (in an environment variable the registry reads it as YAML): put it into secrets/s3_credentials as it is", said
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the latter is versitygw's
		return "this service does not know the key id: is it of another provider or account, or was it deleted?", said
	case "AuthorizationHeaderMalformed", "BucketRegionError", "PermanentRedirect", "MovedPermanently", "IllegalLocationConstraintException", "InvalidRegion":
		if m := expectedRegion.FindStringSubmatch(text); m != nil {
			return fmt.Sprintf("set the region to %s (--s3-region %s)", m[1], m[1]), fmt.Errorf("wrong region: %q is set, the service expects %q", p.s.Region, m[1])
		}
		return "set the region that the bucket is in (--s3-region)", fmt.Errorf("wrong region: %q is set (%w)", p.s.Region, said)
	case "RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureTime":
		return "set the clock, and keep it right with NTP (timedatectl set-ntp true): signatures hold for 15 minutes", fmt.Errorf("the clocks differ: this machine's is %s (%s)", skewText(p.skew), aerr.Code())
	case "NoCredentialProviders", "EC2RoleRequestError", "EC2MetadataError", "CredentialsEndpointError":
		return "give keys with --s3-credentials-file, or run this on the machine that has the role; on EC2 its metadata service needs a hop limit of 2", errors.New("there are no keys, and no role of this machine answers")
	case "SharedCredsLoad", "SharedCredsAccessKey", "SharedCredsSecret":
		return "it needs a section [default] with aws_access_key_id and aws_secret_access_key", fmt.Errorf("credentials file %s: %s", p.s.CredentialsFile, text)
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return "the session token is out of date: a registry needs keys that last", said
	case "NotImplemented", "MethodNotAllowed":
		return "this service lacks an operation that the registry needs: it can't be the registry's store", said
	case "MissingRegion":
		return "set one (--s3-region); us-east-1 where the service has none of its own", errors.New("no region is set")
	case "InvalidBucketName":
		return "a bucket's name has 3 to 63 of a-z 0-9 . -", said
	case "SlowDown", "ServiceUnavailable", "InternalError":
		return "the service is in trouble or limits this key: try again later", said
	}
	return "", said
}

// arn names what a permission is about, in AWS's notation.
func (p *prober) arn(action string) string {
	arn := "arn:aws:s3:::" + p.s.Bucket
	if action == "s3:ListBucket" || action == "s3:ListBucketMultipartUploads" || action == "s3:CreateBucket" {
		return arn
	}
	return arn + "/*"
}

// where names the service.
func (p *prober) where() string {
	if p.s.Endpoint != "" {
		return p.s.Endpoint
	}
	return "Amazon S3 in " + p.s.Region
}

// skewText says how a clock differs; d is ours minus theirs.
func skewText(d time.Duration) string {
	if d.Abs() < time.Second {
		return "not the service's"
	}
	if d > 0 {
		return d.Round(time.Second).String() + " ahead"
	}
	return (-d).Round(time.Second).String() + " behind"
}

// network explains what went wrong before S3 could answer.
func (p *prober) network(err error) (string, bool, error) {
	err = unwrapAWS(err)
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		hint := "is the endpoint spelled right, and does this machine's DNS know it?"
		if !p.s.PathStyle && strings.HasPrefix(dns.Name, p.s.Bucket+".") {
			hint = "the bucket was made part of the host name: set forcepathstyle: true in the registry's configuration"
		} else if !strings.Contains(dns.Name, ".") {
			hint = "the name exists only inside the compose project; from here, name the container's address with --endpoint http://ADDRESS:PORT"
		}
		return hint, true, fmt.Errorf("no such host: %s", dns.Name)
	case errors.As(err, &authority):
		return "the registry trusts what its image trusts: use a certificate of a public authority, or build the image with yours", true, fmt.Errorf("%s has a certificate of an authority that is not trusted", p.where())
	case errors.As(err, &hostname):
		return "use the name in the certificate; with a bucket name that has dots, set forcepathstyle: true", true, fmt.Errorf("the certificate of %s is for other names: %w", p.where(), hostname)
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "renew it, and look at this machine's clock", true, fmt.Errorf("the certificate of %s is not valid: %w", p.where(), err)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "write the endpoint with http://", true, fmt.Errorf("%s speaks plain HTTP", p.where())
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the service running, and on that port?", true, fmt.Errorf("%s refuses connections", p.where())
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "is there a route from this machine?", true, fmt.Errorf("%s can't be reached", p.where())
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return "run this as the user that owns the deployment", true, err
	}
	var netErr net.Error
	if errors.As(err, &netErr) {
		return "", true, fmt.Errorf("%s: %w", p.where(), withoutQuery(err))
	}
	return "", false, err
}

// unwrapAWS returns the cause inside the SDK's errors, which don't unwrap.
func unwrapAWS(err error) error {
	for {
		var aerr awserr.Error
		if !errors.As(err, &aerr) || aerr.OrigErr() == nil {
			return err
		}
		err = aerr.OrigErr()
	}
}

// withoutQuery takes the query out of a URL error: it holds a signature.
func withoutQuery(err error) error {
	var uerr *url.Error
	if errors.As(err, &uerr) {
		return uerr.Err
	}
	return err
}
