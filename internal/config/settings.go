package config

import (
	"fmt"
	"slices"
	"time"

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
