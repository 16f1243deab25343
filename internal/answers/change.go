package answers

import (
	"slices"
	"strings"
)

// OverlayYAML is [ParseYAML] over other answers than the defaults: what the file does not
// name stays as in base.
func OverlayYAML(base Answers, path string, data []byte) (Answers, error) {
	p := parser{file: path, answers: base}
	p.parse(data)
	p.problems.sort()
	return p.answers, p.problems.err()
}

// Merge adds the teams and users of more to those of a, which is how answers for a
// deployment that exists are meant: --team is one more team. A user that both have
// becomes the one of more.
func (a Answers) Merge(more Answers) Answers {
	a.Teams = slices.Clone(a.Teams)
	for _, t := range more.Teams {
		if !slices.Contains(a.Teams, t) {
			a.Teams = append(a.Teams, t)
		}
	}
	a.Users = slices.Clone(a.Users)
	for _, u := range more.Users {
		if i := slices.IndexFunc(a.Users, func(o User) bool { return o.Name == u.Name }); i >= 0 {
			a.Users[i] = u
		} else {
			a.Users = append(a.Users, u)
		}
	}
	return a
}

// DropStale returns a without the answers that only made sense with what before said and a
// says otherwise: the bucket of a storage that is left, the certificate files of a TLS
// mode that is left. Answers that were given now, by flag, stay: if they contradict each
// other, [Answers.Validate] is to say so.
func (a Answers) DropStale(before Answers, given func(flag string) bool) Answers {
	defaults := Defaults()
	for _, f := range Fields() {
		if given(f.Flag) || !slices.Equal(f.get(&a), f.get(&before)) {
			continue
		}
		if a.stale(before, f.Key) {
			_ = f.set(&a, f.get(&defaults)) // a default can be set
		}
	}
	return a
}

// stale reports whether the answer at key goes with what before said otherwise.
func (a Answers) stale(before Answers, key string) bool {
	parent, _, _ := strings.Cut(key, ".")
	switch {
	case parent == "s3" || parent == "azure" || parent == "gcs" || key == "images.storage":
		if a.Storage != before.Storage {
			return true
		}
		if a.S3.Provider != before.S3.Provider {
			return key == "s3.endpoint" || key == "s3.region" || key == "s3.bucket" || key == "s3.credentials_file"
		}
		return a.Azure.Credentials != before.Azure.Credentials &&
			(key == "azure.tenant_id" || key == "azure.client_id" || key == "azure.secret_file")
	case key == "tls_cert" || key == "tls_key":
		return a.Resolve().TLS != TLSFiles && before.Resolve().TLS == TLSFiles
	case key == "acme_ca" || key == "acme_ca_root":
		if a.Resolve().TLS != TLSACME {
			return before.Resolve().TLS == TLSACME
		}
		return key == "acme_ca_root" && a.ACMECA == ""
	}
	return false
}
