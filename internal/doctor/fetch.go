package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// parseChallenge reads a Bearer challenge; false where clients could not follow it.
func parseChallenge(header string) (realm *url.URL, params map[string]string, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	params = map[string]string{}
	for _, m := range challengeParam.FindAllStringSubmatch(rest, -1) {
		params[strings.ToLower(m[1])] = m[2]
	}
	realm, err := url.Parse(params["realm"])
	if !strings.EqualFold(scheme, "Bearer") || err != nil || realm.Host == "" {
		return nil, nil, false
	}
	return realm, params, true
}

// realmFault says why careful clients send no password to the realm, by the rule of
// go-containerregistry from 0.21.6 on; "" where they do.
func realmFault(registry, realm *url.URL) string {
	ip, err := netip.ParseAddr(realm.Hostname())
	switch {
	case realm.Scheme != "https" && realm.Scheme != "http":
		return fmt.Sprintf("the realm is %s, neither https nor http", realm)
	case registry.Scheme == "https" && realm.Scheme != "https":
		return fmt.Sprintf("the realm is %s, plain HTTP for a registry with https", realm)
	case realm.Host != registry.Host && err == nil && privateAddress(ip):
		return fmt.Sprintf("the realm is on %s, a private address that is not the registry's own host and port", realm.Host)
	}
	return ""
}

// Fetch asks a registry for a resource as its clients do: without a token, and again with the one
// that the challenge asks for.
type Fetch struct {
	// Client sends the requests.
	Client *http.Client
	// Account and Password get the token from the realm; "" asks without a login.
	Account  string
	Password secret.Text
	// Sign makes the token in place of the realm; nil: the realm does.
	Sign func(service string, scopes []string) (string, error)
	// Step is told what is done; nil: nobody is.
	Step func(string)
}

// ErrNoToken is inside the error of Do when the token server gave no token.
var ErrNoToken = errors.New("no token")

// Do sends the request and returns the answer, whose body the caller closes. A registry that
// refuses the token is an answer (401) and no error. The password goes to the realm only where
// clients would send it.
func (f Fetch) Do(ctx context.Context, method, target string) (*http.Response, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%q is no address of a registry, such as https://registry.example.com/v2/_catalog", target)
	}
	resp, err := f.send(ctx, method, target, nil)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	header := resp.Header.Get("WWW-Authenticate")
	_ = resp.Body.Close()
	realm, params, ok := parseChallenge(header)
	if !ok {
		return nil, fmt.Errorf("the challenge %q can't be followed: it is not Bearer with an absolute realm", header)
	}
	f.tell("challenge: %s", header)
	scopes := strings.Fields(params["scope"])
	var raw string
	if f.Sign != nil {
		raw, err = f.Sign(params["service"], scopes)
	} else {
		raw, err = f.token(ctx, u, realm, params["service"], scopes)
	}
	if err != nil {
		return nil, err
	}
	return f.send(ctx, method, target, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+raw) })
}

func (f Fetch) tell(format string, args ...any) {
	if f.Step != nil {
		f.Step(fmt.Sprintf(format, args...))
	}
}

func (f Fetch) send(ctx context.Context, method, target string, change func(*http.Request)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "regctl-setup")
	req.Header.Set("Accept", strings.Join([]string{"application/vnd.oci.image.index.v1+json", manifestType,
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json", "*/*"}, ", "))
	if change != nil {
		change(req)
	}
	resp, err := f.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s://%s%s: %w", method, req.URL.Scheme, req.URL.Host, req.URL.Path, plainError(err))
	}
	return resp, nil
}

// token asks the realm.
func (f Fetch) token(ctx context.Context, registry, realm *url.URL, service string, scopes []string) (string, error) {
	if fault := realmFault(registry, realm); fault != "" {
		return "", fmt.Errorf("%w: %s; no password is sent there", ErrNoToken, fault)
	}
	u := *realm
	q := u.Query()
	q.Set("service", service)
	q["scope"] = scopes
	if f.Account != "" {
		q.Set("account", f.Account)
	}
	u.RawQuery = q.Encode()
	resp, err := f.send(ctx, http.MethodGet, u.String(), func(r *http.Request) {
		if f.Account != "" {
			r.SetBasicAuth(f.Account, f.Password.Reveal())
		}
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: the token server answers %s", ErrNoToken, answer{status: resp.StatusCode, body: data}.line())
	}
	raw, err := tokenOf(data)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	return raw, nil
}
