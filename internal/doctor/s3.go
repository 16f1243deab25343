package doctor

import (
	"context"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/s3probe"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// bucket does in the registry's bucket what the registry will do, with its settings and keys. A
// store that only the containers reach is left out: the upload through the registry proves it.
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
	for _, step := range s3probe.Probe(ctx, s) {
		if step.Err == nil || errors.Is(step.Err, s3probe.ErrSkipped) {
			continue
		}
		f := p.find("bucket-fails", "%s in bucket %s: %v", step.Name, s.Bucket, step.Err)
		f.Pos = p.settings.at("storage.s3")
		if step.Hint != "" {
			f.mend("%s", step.Hint)
		}
	}
}

// bucketSettings reads the registry's s3 section and finds its keys. ok is false where there is no
// bucket, or none that this machine could reach.
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
	if len(parameters) == 0 || p.Facts.service(endpointHost(p.settings.text("storage.s3.regionendpoint"))) != nil {
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
