package config

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// SetIssuer is the edit after which tokens name the issuer: token.issuer. The error wraps
// ErrBadEdit for an empty text.
func SetIssuer(issuer string) Edit {
	return setToken("issuer", func(t *Token) (yamledit.Value, error) {
		if issuer == "" {
			return yamledit.Value{}, fmt.Errorf("%w: the issuer is empty", ErrBadEdit)
		}
		t.Issuer = issuer
		return yamledit.Scalar(issuer).SingleQuoted(), nil
	})
}

// SetExpiration is the edit of the tokens' lifetime: token.expiration, in whole seconds. The error
// wraps ErrBadEdit for less than a second.
func SetExpiration(lifetime time.Duration) Edit {
	return setToken("expiration", func(t *Token) (yamledit.Value, error) {
		seconds := int64(lifetime / time.Second)
		if seconds < 1 {
			return yamledit.Value{}, fmt.Errorf("%w: a lifetime of %s", ErrBadEdit, lifetime)
		}
		t.Expiration = time.Duration(seconds) * time.Second
		return yamledit.Int(seconds), nil
	})
}

// setToken is the edit of one key of the token section. change sets it in the typed view too.
func setToken(key string, change func(*Token) (yamledit.Value, error)) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		want := f.Token
		value, err := change(&want)
		if err != nil || want == f.Token {
			return nil, expectation{}, err
		}
		path := yamledit.Path{"token", key}
		step := yamledit.SetValue(path, value)
		if f.doc.Lookup(path) == nil {
			step = yamledit.InsertKey(yamledit.Path{"token"}, key, value, yamledit.Last())
		}
		return []yamledit.Edit{step}, expectation{token: &want}, nil
	}}
}

// SetServices is the edit of the services that tokens are signed for, x-regctl-setup.services.
// Names that stay keep their place. The error wraps ErrBadEdit where the file has no such list, or
// the new one is empty: either means another thing than a list.
func SetServices(services []string) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		switch {
		case slices.Equal(f.Extras.Services, services):
			return nil, expectation{}, nil
		case f.Extras.Services == nil:
			return nil, expectation{}, fmt.Errorf("%w: the file lists no services", ErrBadEdit)
		case len(services) == 0:
			return nil, expectation{}, fmt.Errorf("%w: no service is left", ErrBadEdit)
		}
		path := yamledit.Path{extrasKey, "services"}
		if len(services) == len(f.Extras.Services) {
			var steps []yamledit.Edit
			for i, s := range services {
				if s != f.Extras.Services[i] {
					steps = append(steps, yamledit.SetValue(path.With(i), yamledit.Scalar(s)))
				}
			}
			return steps, expectation{}, nil
		}
		return setValues(path, f.Extras.Services, services), expectation{}, nil
	}}
}

// SetAuditEvents is the edit of the listener for the registry's notifications,
// x-regctl-setup.audit.events; nil takes it out. What else the file says about the audit log
// stays. The error wraps ErrBadEdit for a listener without an address or a secret.
func SetAuditEvents(e *AuditEvents) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		is := f.Extras.Audit.Events
		path := yamledit.Path{extrasKey, "audit", "events"}
		switch {
		case SameAuditEvents(is, e):
			return nil, expectation{}, nil
		case e == nil:
			return []yamledit.Edit{yamledit.Delete(f.emptied(path))}, expectation{}, nil
		case e.Address == "" || e.SecretFile == "":
			return nil, expectation{}, fmt.Errorf("%w: a listener for events needs an address and a file with its secret", ErrBadEdit)
		}
		pairs := []yamledit.Pair{yamledit.KV("address", yamledit.Scalar(e.Address)), yamledit.KV("secret_file", yamledit.Scalar(e.SecretFile))}
		if !slices.Equal(e.Peers, PrivateRanges()) { // the default
			var peers []string
			for _, p := range e.Peers {
				peers = append(peers, p.String())
			}
			pairs = append(pairs, yamledit.KV("peers", yamledit.Strings(peers...).Flow()))
		}
		events := yamledit.Map(pairs...).Block()
		section := func(mode string) yamledit.Value {
			return yamledit.Map(yamledit.KV("mode", yamledit.Scalar(mode)), yamledit.KV("events", events)).Block()
		}
		audit := f.doc.Lookup(path[:2])
		switch {
		case is != nil:
			return []yamledit.Edit{yamledit.SetValue(path, events)}, expectation{}, nil
		case audit != nil && audit.Kind == yaml.ScalarNode: // the mode alone
			return []yamledit.Edit{yamledit.SetValue(path[:2], section(f.Extras.Audit.Mode))}, expectation{}, nil
		case audit != nil:
			return []yamledit.Edit{yamledit.InsertKey(path[:2], "events", events, yamledit.Last())}, expectation{}, nil
		case f.has(extrasKey):
			return []yamledit.Edit{yamledit.InsertKey(path[:1], "audit", section(f.Extras.Audit.Mode), yamledit.Last())}, expectation{}, nil
		}
		return []yamledit.Edit{yamledit.InsertKey(yamledit.Path{}, extrasKey,
			yamledit.Map(yamledit.KV("audit", section(f.Extras.Audit.Mode))).Block(), topOrder())}, expectation{}, nil
	}}
}

// SameAuditEvents reports whether two listeners are the same; nil is none.
func SameAuditEvents(x, y *AuditEvents) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.Address == y.Address && x.SecretFile == y.SecretFile && slices.Equal(x.Peers, y.Peers)
}
