package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/s3probe"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// bucket does in the registry's bucket what the registry will do, with its settings and keys.
func (p *prober) bucket(ctx context.Context) {
	s, ok, err := p.bucketSettings()
	if !ok {
		return
	}
	p.step("the bucket %s", s.Bucket)
	if err != nil {
		p.find("bucket-fails", "the settings of the bucket can't be used: %v", err)
		return
	}
	if service := p.Facts.service(endpointHost(s.Endpoint)); service != nil {
		if err := p.reach(ctx, service.Name, &s); err != nil {
			f := p.find("bucket-fails", "the bucket %s can't be tried from here: service %s is for the containers only (%v); the push through the registry stands for it", s.Bucket, service.Name, err)
			f.Severity = Info
			f.mend("nothing, where the push works; docker compose ps %s   shows whether the store runs", service.Name)
			return
		}
	}
	for _, step := range s3probe.Probe(ctx, s) {
		if step.Err == nil || errors.Is(step.Err, s3probe.ErrSkipped) {
			continue
		}
		f := p.find("bucket-fails", "%s in bucket %s: %v", step.Name, s.Bucket, step.Err)
		f.Pos = p.settings.at("storage.s3")
		if step.Hint != "" {
			f.mend("%s", strings.ReplaceAll(step.Hint, "regctl-setup s3 ", p.cmd("s3 ")))
		}
	}
}

// reach sends the requests for a service's name to its container, whose address the machine that
// runs it can reach.
func (p *prober) reach(ctx context.Context, service string, s *s3probe.Settings) error {
	if p.o.Container == nil {
		return errors.New("no engine was asked for its address")
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	ip, err := p.o.Container(ctx, service)
	if err != nil {
		return err
	}
	port := "80"
	u, err := url.Parse(s.Endpoint)
	switch {
	case err != nil:
		return err
	case u.Port() != "":
		port = u.Port()
	case u.Scheme == "https":
		port = "443"
	}
	dialer := &net.Dialer{Timeout: p.o.Timeout}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
	}
	conn, err := dial(ctx, "tcp", "")
	if err != nil {
		return err
	}
	_ = conn.Close()
	s.Client = &http.Client{Transport: &http.Transport{DialContext: dial, TLSHandshakeTimeout: p.o.Timeout, ResponseHeaderTimeout: 2 * p.o.Timeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.SkipVerify}}} //nolint:gosec // the registry's own setting
	return nil
}

// bucketSettings reads the registry's s3 section and finds its keys. ok is false where there is no
// bucket.
func (p *prober) bucketSettings() (s s3probe.Settings, ok bool, err error) {
	parameters := map[string]any{}
	for path, v := range p.settings.all {
		key, below := strings.CutPrefix(path, "storage.s3.")
		if !below {
			continue
		}
		var value any
		if yaml.Unmarshal([]byte(v.value), &value) != nil || v.node != nil && v.node.Tag == "!!str" {
			value = v.value
		}
		parameters[key] = value
	}
	if len(parameters) == 0 {
		return s, false, nil
	}
	if s, err = s3probe.FromParameters(parameters); err != nil {
		return s, true, err
	}
	s.Redirect = !p.settings.on("storage.redirect.disable")
	s.StepTimeout = 2 * p.o.Timeout
	if p.registry != nil {
		if file := p.registry.variable("AWS_SHARED_CREDENTIALS_FILE"); file != "" {
			if host, mounted := p.registry.inside(file); mounted {
				s.CredentialsFile = host
			} else {
				s.CredentialsFile = p.Path(scaffold.PathS3Keys)
			}
		}
		if id := p.registry.variable("AWS_ACCESS_KEY_ID"); id != "" {
			s.AccessKey, s.SecretKey = secret.New(id), secret.New(p.registry.variable("AWS_SECRET_ACCESS_KEY"))
		}
	}
	return s, true, nil
}
