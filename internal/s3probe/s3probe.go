// Package s3probe proves that a bucket can do what the registry will ask of it: with the
// registry's own settings and keys it puts, lists, reads, uploads in parts, copies, signs
// a link and deletes, and says of each step whether it worked, and if not, why.
//
// # Contract
//
// [Probe] does the operations that the registry's S3 driver does, through the same SDK
// and the same way of finding host and signature, so that what works here works there.
// It reads nothing of the process's environment and of the user's own ~/.aws. Every
// step has a deadline. What the probe made below its own prefix is removed at the end,
// also when the context was cancelled; a bucket that it made stays.
//
// # Example
//
//	s, err := s3probe.FromParameters(cfg.Storage["s3"])
//	s.CredentialsFile = "secrets/s3_credentials"
//	s.Create = true
//	for _, step := range s3probe.Probe(ctx, s) {
//		fmt.Println(step.Name, step.Err, step.Hint)
//	}
package s3probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/credentials"
	"github.com/aws/aws-sdk-go/aws/defaults"
	"github.com/aws/aws-sdk-go/aws/endpoints"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/s3"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Settings say where the bucket is and who asks, in the terms of the registry's S3
// driver.
type Settings struct {
	Bucket        string
	Region        string
	Endpoint      string // regionendpoint, with or without a scheme; "" = AWS
	PathStyle     bool   // forcepathstyle
	PlainHTTP     bool   // secure: false, for an endpoint without a scheme
	SkipVerify    bool   // skipverify
	Encrypt       bool   // encrypt
	KeyID         string // keyid
	RootDirectory string // rootdirectory
	StorageClass  string // storageclass
	Accelerate    bool
	DualStack     bool
	FIPS          bool

	// Static keys stand above the file; without both the machine's role is asked.
	AccessKey, SecretKey, SessionToken secret.Text
	CredentialsFile                    string // AWS credentials file; its [default] section is read

	// Redirect says that clients will be sent to the bucket, so that a signed link must work.
	Redirect bool
	// Create makes the bucket where there is none.
	Create bool

	StepTimeout time.Duration // of one step; 0 = 30 s
	Rand        io.Reader     // names what the probe makes; nil = crypto/rand
	Client      *http.Client  // nil = one without a proxy, as in the registry's container
}

// Names of steps, in the order in which they are done.
const (
	StepCredentials = "credentials"
	StepBucket      = "bucket"
	StepPut         = "put"
	StepList        = "list"
	StepGet         = "get"
	StepMultipart   = "multipart"
	StepCopy        = "copy"
	StepPresign     = "presigned get"
	StepDelete      = "delete"
)

// ErrSkipped is the error of a step that could not be tried, because one before it failed.
var ErrSkipped = errors.New("not tried: a step before it failed")

// Step is one thing that the registry will do, and how it went.
type Step struct {
	Name string
	Err  error         // nil = it works
	Hint string        // what to do about Err; or, without one, what is worth knowing
	Took time.Duration // 0 for a skipped step
}

// OK reports whether every step worked.
func OK(steps []Step) bool {
	return !slices.ContainsFunc(steps, func(s Step) bool { return s.Err != nil })
}

const (
	defaultTimeout = 30 * time.Second
	cleanupTimeout = 15 * time.Second
	partSize       = 5 << 20 // the smallest that S3 takes for a part that is not the last
)

// Probe does the steps and returns all of them, those that could not be tried with
// [ErrSkipped].
func Probe(ctx context.Context, s Settings) []Step {
	p := &prober{s: s, timeout: s.StepTimeout}
	if p.timeout <= 0 {
		p.timeout = defaultTimeout
	}
	steps := []struct {
		name string
		run  func(context.Context) (note string, err error)
	}{
		{StepCredentials, p.credentials},
		{StepBucket, p.bucket},
		{StepPut, p.put},
		{StepList, p.list},
		{StepGet, p.get},
		{StepMultipart, p.multipart},
		{StepCopy, p.copy},
		{StepPresign, p.presign},
		{StepDelete, p.delete},
	}
	defer p.cleanup(ctx)
	var out []Step
	blocked := false
	for _, step := range steps {
		if blocked || ctx.Err() != nil {
			out = append(out, Step{Name: step.name, Err: ErrSkipped})
			continue
		}
		out = append(out, p.step(ctx, step.name, step.run))
		failed := out[len(out)-1].Err != nil
		// Without these there is nothing that the others could work on.
		blocked = failed && (step.name == StepCredentials || step.name == StepBucket || step.name == StepPut)
	}
	return out
}

type prober struct {
	s       Settings
	timeout time.Duration
	api     *s3.S3
	client  *http.Client
	prefix  string // what the probe makes is below it
	keys    []string
	uploads map[string]string // id to key, of uploads that are open
	skew    time.Duration     // the server's clock against ours, from its last answer
}

// step runs one step with its deadline.
func (p *prober) step(ctx context.Context, name string, run func(context.Context) (string, error)) Step {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	start := time.Now()
	hint, err := run(ctx)
	if err != nil {
		hint, err = p.explain(ctx, name, err)
	}
	return Step{Name: name, Err: err, Hint: hint, Took: time.Since(start)}
}

// credentials finds the keys and makes the client.
func (p *prober) credentials(ctx context.Context) (string, error) {
	random := p.s.Rand
	if random == nil {
		random = rand.Reader
	}
	id := make([]byte, 8)
	if _, err := io.ReadFull(random, id); err != nil {
		return "", fmt.Errorf("name the test objects: %w", err)
	}
	p.prefix = strings.TrimPrefix(path.Join(p.s.RootDirectory, "regctl-setup-probe-"+hex.EncodeToString(id)), "/") + "/"
	p.uploads = map[string]string{}
	p.client = p.s.Client
	if p.client == nil {
		p.client = &http.Client{Transport: transport(p.s.SkipVerify)}
	}
	cfg := aws.NewConfig().
		WithRegion(p.s.Region).
		WithEndpointResolver(endpoints.DefaultResolver()).
		WithS3ForcePathStyle(p.s.PathStyle).
		WithS3UseAccelerate(p.s.Accelerate).
		WithDisableSSL(p.s.PlainHTTP).
		WithHTTPClient(p.client).
		WithMaxRetries(1)
	if p.s.Endpoint != "" {
		cfg.WithEndpoint(p.s.Endpoint)
	}
	if p.s.DualStack {
		cfg.UseDualStackEndpoint = endpoints.DualStackEndpointStateEnabled
	}
	if p.s.FIPS {
		cfg.UseFIPSEndpoint = endpoints.FIPSEndpointStateEnabled
	}
	handlers := defaults.Handlers()
	note := ""
	switch {
	case !p.s.AccessKey.IsZero() && !p.s.SecretKey.IsZero():
		cfg.WithCredentials(credentials.NewStaticCredentials(p.s.AccessKey.Reveal(), p.s.SecretKey.Reveal(), p.s.SessionToken.Reveal()))
	case p.s.CredentialsFile != "":
		cfg.WithCredentials(credentials.NewSharedCredentials(p.s.CredentialsFile, "default"))
	default:
		cfg.WithCredentials(credentials.NewCredentials(defaults.RemoteCredProvider(*cfg, handlers)))
		note = "no keys are set: the role of this machine is used, which the registry must reach from its container too"
	}
	if _, err := cfg.Credentials.GetWithContext(ctx); err != nil {
		return "", err
	}
	sess := &session.Session{Config: cfg, Handlers: handlers}
	p.api = s3.New(sess)
	p.api.Handlers.CompleteAttempt.PushBack(p.clock)
	return note, nil
}

// transport is Go's default without the proxy of this process's environment.
func transport(skipVerify bool) *http.Transport {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
	}
	if skipVerify {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the registry's own setting, which is to be tried as it is
	}
	return t
}

// bucket asks for a listing, the one question whose answer says what is wrong, and makes
// the bucket where it is missing and may be made.
func (p *prober) bucket(ctx context.Context) (string, error) {
	_, err := p.api.ListObjectsV2WithContext(ctx, &s3.ListObjectsV2Input{Bucket: &p.s.Bucket, Prefix: &p.prefix, MaxKeys: aws.Int64(1)})
	if code(err) != s3.ErrCodeNoSuchBucket || !p.s.Create {
		return "", err
	}
	in := &s3.CreateBucketInput{Bucket: &p.s.Bucket}
	if p.s.Endpoint == "" && p.s.Region != "us-east-1" {
		in.CreateBucketConfiguration = &s3.CreateBucketConfiguration{LocationConstraint: &p.s.Region}
	}
	_, err = p.api.CreateBucketWithContext(ctx, in)
	if c := code(err); err != nil && c != s3.ErrCodeBucketAlreadyOwnedByYou {
		return "", &actionError{action: "s3:CreateBucket", err: err}
	}
	// Some services list a new bucket only after a while.
	for {
		_, err = p.api.ListObjectsV2WithContext(ctx, &s3.ListObjectsV2Input{Bucket: &p.s.Bucket, Prefix: &p.prefix, MaxKeys: aws.Int64(1)})
		if code(err) != s3.ErrCodeNoSuchBucket {
			return "made", err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (p *prober) key(name string) string { return p.prefix + name }

// made notes a key, so that it is removed whatever happens.
func (p *prober) made(name string) *string {
	k := p.key(name)
	if !slices.Contains(p.keys, k) {
		p.keys = append(p.keys, k)
	}
	return &k
}

func (p *prober) encryption() (sse, kms *string) {
	if !p.s.Encrypt {
		return nil, nil
	}
	if p.s.KeyID == "" {
		return aws.String("AES256"), nil
	}
	return aws.String("aws:kms"), &p.s.KeyID
}

func (p *prober) storageClass() *string {
	if p.s.StorageClass == "" || p.s.StorageClass == "NONE" {
		return nil
	}
	return &p.s.StorageClass
}

func small() []byte {
	return []byte("regctl-setup was here to test this bucket; it removes this object\n")
}

func (p *prober) put(ctx context.Context) (string, error) {
	sse, kms := p.encryption()
	_, err := p.api.PutObjectWithContext(ctx, &s3.PutObjectInput{Bucket: &p.s.Bucket, Key: p.made("object"), Body: bytes.NewReader(small()),
		ServerSideEncryption: sse, SSEKMSKeyId: kms, StorageClass: p.storageClass()})
	return "", err
}

func (p *prober) list(ctx context.Context) (string, error) {
	out, err := p.api.ListObjectsV2WithContext(ctx, &s3.ListObjectsV2Input{Bucket: &p.s.Bucket, Prefix: &p.prefix})
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(out.Contents, func(o *s3.Object) bool { return aws.StringValue(o.Key) == p.key("object") }) {
		return "", errors.New("an object that was just put is not listed: the registry would not find its own uploads")
	}
	return "", nil
}

func (p *prober) get(ctx context.Context) (string, error) {
	return "", p.expect(ctx, "object", small())
}

// expect reads an object and compares it.
func (p *prober) expect(ctx context.Context, name string, want []byte) error {
	out, err := p.api.GetObjectWithContext(ctx, &s3.GetObjectInput{Bucket: &p.s.Bucket, Key: aws.String(p.key(name))})
	if err != nil {
		return &actionError{action: "s3:GetObject", err: err}
	}
	defer func() { _ = out.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(out.Body, int64(len(want))+1))
	if err != nil {
		return fmt.Errorf("read %s back: %w", name, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s comes back changed (%d bytes of %d): this service would corrupt images", name, len(got), len(want))
	}
	return nil
}

// multipart uploads in parts, looks at them as the driver does when it resumes, and
// breaks another upload off.
func (p *prober) multipart(ctx context.Context) (string, error) {
	content := bytes.Repeat([]byte("0123456789abcdef"), (partSize+16)/16)
	id, err := p.begin(ctx, "parts")
	if err != nil {
		return "", err
	}
	var parts []*s3.CompletedPart
	for i, body := range [][]byte{content[:partSize], content[partSize:]} {
		n := aws.Int64(int64(i) + 1)
		out, err := p.api.UploadPartWithContext(ctx, &s3.UploadPartInput{Bucket: &p.s.Bucket, Key: p.made("parts"), UploadId: &id, PartNumber: n, Body: bytes.NewReader(body)})
		if err != nil {
			return "", &actionError{action: "s3:PutObject", err: fmt.Errorf("upload part %d: %w", i+1, err)}
		}
		parts = append(parts, &s3.CompletedPart{ETag: out.ETag, PartNumber: n})
	}
	if _, err := p.api.ListMultipartUploadsWithContext(ctx, &s3.ListMultipartUploadsInput{Bucket: &p.s.Bucket, Prefix: &p.prefix}); err != nil {
		return "", &actionError{action: "s3:ListBucketMultipartUploads", err: fmt.Errorf("list open uploads: %w", err)}
	}
	listed, err := p.api.ListPartsWithContext(ctx, &s3.ListPartsInput{Bucket: &p.s.Bucket, Key: aws.String(p.key("parts")), UploadId: &id})
	if err != nil {
		return "", &actionError{action: "s3:ListMultipartUploadParts", err: fmt.Errorf("list an upload's parts: %w", err)}
	}
	if len(listed.Parts) != len(parts) {
		return "", fmt.Errorf("list an upload's parts: %d of %d are listed", len(listed.Parts), len(parts))
	}
	_, err = p.api.CompleteMultipartUploadWithContext(ctx, &s3.CompleteMultipartUploadInput{Bucket: &p.s.Bucket, Key: aws.String(p.key("parts")), UploadId: &id,
		MultipartUpload: &s3.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		return "", &actionError{action: "s3:PutObject", err: fmt.Errorf("complete the upload: %w", err)}
	}
	delete(p.uploads, id)
	if err := p.expect(ctx, "parts", content); err != nil {
		return "", err
	}
	broken, err := p.begin(ctx, "broken-off")
	if err != nil {
		return "", err
	}
	return "", p.abort(ctx, broken)
}

func (p *prober) begin(ctx context.Context, name string) (string, error) {
	sse, kms := p.encryption()
	out, err := p.api.CreateMultipartUploadWithContext(ctx, &s3.CreateMultipartUploadInput{Bucket: &p.s.Bucket, Key: p.made(name),
		ServerSideEncryption: sse, SSEKMSKeyId: kms, StorageClass: p.storageClass()})
	if err != nil {
		return "", &actionError{action: "s3:PutObject", err: fmt.Errorf("begin an upload in parts: %w", err)}
	}
	id := aws.StringValue(out.UploadId)
	p.uploads[id] = p.key(name)
	return id, nil
}

func (p *prober) abort(ctx context.Context, id string) error {
	_, err := p.api.AbortMultipartUploadWithContext(ctx, &s3.AbortMultipartUploadInput{Bucket: &p.s.Bucket, Key: aws.String(p.uploads[id]), UploadId: &id})
	if err != nil && code(err) != s3.ErrCodeNoSuchUpload {
		return &actionError{action: "s3:AbortMultipartUpload", err: fmt.Errorf("break an upload off: %w", err)}
	}
	delete(p.uploads, id)
	return nil
}

// copy copies as the driver moves an upload to its place: whole, and as the part of an
// upload.
func (p *prober) copy(ctx context.Context) (string, error) {
	sse, kms := p.encryption()
	source := aws.String(p.s.Bucket + "/" + p.key("object"))
	_, err := p.api.CopyObjectWithContext(ctx, &s3.CopyObjectInput{Bucket: &p.s.Bucket, Key: p.made("copy"), CopySource: source,
		ServerSideEncryption: sse, SSEKMSKeyId: kms, StorageClass: p.storageClass()})
	if err != nil {
		return "", &actionError{action: "s3:GetObject and s3:PutObject", err: err}
	}
	if err := p.expect(ctx, "copy", small()); err != nil {
		return "", err
	}
	id, err := p.begin(ctx, "part-copy")
	if err != nil {
		return "", err
	}
	part, err := p.api.UploadPartCopyWithContext(ctx, &s3.UploadPartCopyInput{Bucket: &p.s.Bucket, Key: aws.String(p.key("part-copy")), UploadId: &id,
		PartNumber: aws.Int64(1), CopySource: source, CopySourceRange: aws.String(fmt.Sprintf("bytes=0-%d", len(small())-1))})
	if err != nil {
		return "", &actionError{action: "s3:GetObject and s3:PutObject", err: fmt.Errorf("copy as a part: %w", err)}
	}
	_, err = p.api.CompleteMultipartUploadWithContext(ctx, &s3.CompleteMultipartUploadInput{Bucket: &p.s.Bucket, Key: aws.String(p.key("part-copy")), UploadId: &id,
		MultipartUpload: &s3.CompletedMultipartUpload{Parts: []*s3.CompletedPart{{ETag: part.CopyPartResult.ETag, PartNumber: aws.Int64(1)}}}})
	if err != nil {
		return "", &actionError{action: "s3:PutObject", err: fmt.Errorf("complete the copy: %w", err)}
	}
	delete(p.uploads, id)
	return "", p.expect(ctx, "part-copy", small())
}

// presign follows a signed link as a client would.
func (p *prober) presign(ctx context.Context) (string, error) {
	req, _ := p.api.GetObjectRequest(&s3.GetObjectInput{Bucket: &p.s.Bucket, Key: aws.String(p.key("object"))})
	link, err := req.Presign(5 * time.Minute)
	if err != nil {
		return "", fmt.Errorf("sign a link: %w", err)
	}
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", fmt.Errorf("sign a link: %w", err)
	}
	resp, err := p.client.Do(get)
	if err != nil {
		return "", withoutQuery(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("read through a signed link: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, small()) {
		return "", fmt.Errorf("a signed link answers %s", resp.Status)
	}
	if p.s.Redirect {
		return "clients fetch layers from " + get.URL.Scheme + "://" + get.URL.Host + ", which they must reach", nil
	}
	return "", nil
}

// delete removes what the probe made, in one request as the driver does, and looks
// whether it is gone.
func (p *prober) delete(ctx context.Context) (string, error) {
	if err := p.remove(ctx); err != nil {
		return "", err
	}
	out, err := p.api.ListObjectsV2WithContext(ctx, &s3.ListObjectsV2Input{Bucket: &p.s.Bucket, Prefix: &p.prefix})
	if err != nil {
		return "", &actionError{action: "s3:ListBucket", err: err}
	}
	if len(out.Contents) > 0 {
		return "", fmt.Errorf("%d objects are still listed after they were deleted", len(out.Contents))
	}
	return "", nil
}

func (p *prober) remove(ctx context.Context) error {
	if len(p.keys) == 0 {
		return nil
	}
	var ids []*s3.ObjectIdentifier
	for _, k := range p.keys {
		ids = append(ids, &s3.ObjectIdentifier{Key: &k})
	}
	out, err := p.api.DeleteObjectsWithContext(ctx, &s3.DeleteObjectsInput{Bucket: &p.s.Bucket, Delete: &s3.Delete{Objects: ids, Quiet: aws.Bool(true)}})
	if err != nil {
		return &actionError{action: "s3:DeleteObject", err: err}
	}
	for _, e := range out.Errors {
		if c := aws.StringValue(e.Code); c != s3.ErrCodeNoSuchKey {
			return &actionError{action: "s3:DeleteObject", err: &objectError{key: aws.StringValue(e.Key), code: c, message: aws.StringValue(e.Message)}}
		}
	}
	p.keys = nil
	return nil
}

// cleanup removes what is left, whatever became of the context.
func (p *prober) cleanup(ctx context.Context) {
	if p.api == nil || len(p.keys)+len(p.uploads) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for id := range p.uploads {
		_ = p.abort(ctx, id) // the step that failed has said what is wrong
	}
	_ = p.remove(ctx)
}
