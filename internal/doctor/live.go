package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// ProbeRepository is the one repository that the live checks write to.
const ProbeRepository = "regctl-setup/doctor"

// probeAccount is the subject of the tokens that are made for the checks: nobody's name.
const probeAccount = "regctl-setup-doctor"

// LiveOptions say how a registry is asked.
type LiveOptions struct {
	// URL is the registry as clients reach it, such as https://registry.example.com; "" is what the
	// deployment records.
	URL string
	// Roots are the authorities that are trusted; nil: the system's.
	Roots *x509.CertPool
	// Write pushes to ProbeRepository as well.
	Write bool
	// Account and Password log in as a client does; "" leaves that out.
	Account  string
	Password secret.Text
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Progress is told what is being done; nil: nobody is.
	Progress func(step string)
	// Container finds the address of a compose file's service, for a bucket that only containers
	// know by name; nil: nobody does.
	Container func(ctx context.Context, service string) (string, error)
	// Services tells how the services of the compose file are, which is asked once clients see a
	// fault; its error says why the engine does not answer. Nil: nobody is asked.
	Services func(ctx context.Context) ([]ServiceState, error)
	// Lookup finds the addresses of a name; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// LayerSize is that of the layer that is pushed, in bytes; zero: 32 MiB.
	LayerSize int
	// Timeout bounds each request but the large ones; zero: five seconds.
	Timeout time.Duration
}

// BaseURL is where the deployment's records say that clients reach the registry; "" where they
// don't.
func (f *Facts) BaseURL() string {
	switch {
	case f.Embedded:
		return "http://" + f.Answers.Listen
	case f.Answers != nil:
		return f.Answers.Scheme() + "://" + f.Answers.Host()
	}
	if u, err := url.Parse(f.settings.text("http.host")); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	for _, s := range f.registrySites() {
		for _, a := range s.addresses {
			host, scheme, port := splitSite(a)
			if scheme == "" {
				scheme = "https"
			}
			if port != "" {
				host = net.JoinHostPort(host, port)
			}
			if host != "" {
				return scheme + "://" + host
			}
		}
	}
	return ""
}

// Live asks the registry as a client does, one step after another; what follows from a fault is
// not asked. Each request has a deadline. What it makes in the registry it takes away again, also
// when ctx ends before. The error says that there is nothing to ask.
func Live(ctx context.Context, f *Facts, o LiveOptions) (Report, error) {
	if o.URL == "" {
		o.URL = f.BaseURL()
	}
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return Report{}, fmt.Errorf("%q is not the address of a registry, such as https://registry.example.com", o.URL)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LayerSize == 0 {
		o.LayerSize = defaultLayer
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupHost
	}
	p := &prober{Facts: f, o: o, base: base, verified: true, table: map[string]Check{}}
	for _, c := range Checks() {
		p.table[c.Code] = c
	}
	defer p.cleanup(context.WithoutCancel(ctx))
	p.converse(ctx)
	p.byServices(ctx)
	if ctx.Err() != nil {
		return p.Report, ctx.Err()
	}
	p.attribute()
	p.sort()
	return p.Report, nil
}

// prober is one conversation with a registry.
type prober struct {
	*Facts
	Report
	o        LiveOptions
	base     *url.URL
	table    map[string]Check
	client   *http.Client
	verified bool // the certificate is trusted, or none is needed
	realmURL *url.URL
	service  string // of the challenge
	signer   *token.Issuer
	// requestID is the bundled token server's for a request of this conversation.
	requestID string
	undo      []func(context.Context) // what takes away what was made, last first
}

// find adds a finding of the code.
func (p *prober) find(code, format string, args ...any) *Finding {
	c := p.table[code]
	p.Findings = append(p.Findings, Finding{Code: code, Severity: c.Severity, Why: c.Why, Message: fmt.Sprintf(format, args...), Fix: Fix{Text: c.Mend}})
	return &p.Findings[len(p.Findings)-1]
}

func (p *prober) unsure(code, format string, args ...any) {
	p.Unknown = append(p.Unknown, Unknown{code, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")})
}

// step tells what is being done, and counts it.
func (p *prober) step(format string, args ...any) {
	p.Ran++
	if p.o.Progress != nil {
		p.o.Progress(fmt.Sprintf(format, args...))
	}
}

// cleanup takes away what is left, with a deadline of its own.
func (p *prober) cleanup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.o.Timeout)
	defer cancel()
	for i := len(p.undo) - 1; i >= 0; i-- {
		p.undo[i](ctx)
	}
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
}

// converse goes from the name to the upload, and stops at the first step without which the next
// makes no sense.
func (p *prober) converse(ctx context.Context) {
	if p.o.Write {
		p.bucket(ctx)
	}
	steps := []func(context.Context) bool{p.resolves, p.connects, p.speaksTLS, p.challenges, p.realmWorks, p.ownToken, p.logsIn, p.uploads}
	if p.o.Write {
		steps = append(steps, p.pushes)
	}
	for _, step := range steps {
		if ctx.Err() != nil || !step(ctx) {
			return
		}
	}
}

func (p *prober) hostPort() string {
	if p.base.Port() != "" {
		return p.base.Host
	}
	return net.JoinHostPort(p.base.Hostname(), p.port())
}

func (p *prober) port() string {
	if p.base.Port() != "" {
		return p.base.Port()
	}
	return map[string]string{"https": "443", "http": "80"}[p.base.Scheme]
}

func (p *prober) resolves(ctx context.Context) bool {
	p.step("name %s", p.base.Hostname())
	if _, err := netip.ParseAddr(p.base.Hostname()); err == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	_, err := p.o.Lookup(ctx, p.base.Hostname())
	var de *net.DNSError
	switch {
	case err == nil:
		return true
	case errors.As(err, &de) && de.IsNotFound:
		p.find("name-unresolved", "%s has no address", p.base.Hostname()).mend("make an A or AAAA record for %s at your DNS provider; getent hosts %[1]s   shows when it is there", p.base.Hostname())
	default:
		p.unsure("name-unresolved", "the name server does not answer: %v", err)
	}
	return false
}

func (p *prober) connects(ctx context.Context) bool {
	p.step("port %s", p.hostPort())
	conn, err := (&net.Dialer{Timeout: p.o.Timeout}).DialContext(ctx, "tcp", p.hostPort())
	if err == nil {
		_ = conn.Close()
		return true
	}
	var ne net.Error
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "unreachable") || strings.Contains(text, "no route"):
		p.unsure("port-closed", "no way to %s from here: %v", p.hostPort(), err)
	case errors.As(err, &ne) && ne.Timeout():
		p.find("port-closed", "%s does not answer within %s: a firewall, or another machine's address", p.hostPort(), p.o.Timeout).
			mend("open the port in the firewall, and compare the address: getent hosts %s", p.base.Hostname())
	default:
		f := p.find("port-closed", "nothing listens on %s", p.hostPort()).mend("%s   starts it; %s   shows what is running", p.cmd("up"), p.dockerCompose("ps"))
		if p.Embedded {
			f.mend("%s   starts it", p.cmd("up"))
		}
	}
	return false
}

func (p *prober) transport(insecure bool) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: p.o.Timeout}).DialContext,
		TLSHandshakeTimeout: p.o.Timeout,
		ForceAttemptHTTP2:   true,
		TLSClientConfig: &tls.Config{
			RootCAs: p.o.Roots, MinVersion: tls.VersionTLS12, Time: p.o.Now,
			InsecureSkipVerify: insecure, //nolint:gosec // the fault was reported; from here on no password is sent
		},
	}
}

func (p *prober) speaksTLS(ctx context.Context) bool {
	p.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if p.base.Scheme == "http" {
		p.client.Transport = p.transport(false)
		return true
	}
	p.step("certificate of %s", p.base.Hostname())
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	leaf, err := p.handshake(ctx, false)
	if err != nil {
		var (
			unknown  x509.UnknownAuthorityError
			wrong    x509.HostnameError
			invalid  x509.CertificateInvalidError
			notSpoke tls.RecordHeaderError
		)
		p.verified = false
		switch {
		case errors.As(err, &notSpoke):
			p.find("tls-not-spoken", "%s answers, and not with TLS", p.hostPort())
			return false
		case errors.As(err, &unknown):
			p.find("tls-untrusted", "the certificate of %s was issued by an authority that this machine does not trust", p.hostPort()).
				mend("%s", p.giveAuthority(unknown.Cert))
		case errors.As(err, &wrong):
			p.find("tls-wrong-host", "the certificate of %s is for %q", p.hostPort(), wrong.Certificate.DNSNames)
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			p.find("tls-expired", "the certificate of %s ended %s, on %s", p.hostPort(), days(invalid.Cert.NotAfter.Sub(p.o.Now())), invalid.Cert.NotAfter.Format(time.RFC3339)).mend("%s", p.renew())
		case strings.Contains(err.Error(), "remote error: tls: internal error"), strings.Contains(err.Error(), "unrecognized name"):
			p.find("tls-wrong-host", "%s has no certificate for the name %s", p.hostPort(), p.base.Hostname()).
				mend("let a site of the Caddyfile be named %s, then: %s; where it is, Caddy got no certificate: %s   shows why", p.base.Hostname(), p.restart("caddy"), p.logsCommand("caddy"))
			return false
		default:
			p.find("tls-not-spoken", "TLS with %s fails: %v", p.hostPort(), err).mend("%s   shows why", p.dockerCompose("logs --tail 50 caddy"))
			return false
		}
		if leaf, err = p.handshake(ctx, true); err != nil {
			return false
		}
	}
	p.client.Transport = p.transport(!p.verified)
	if leaf != nil && p.verified {
		life, left := leaf.NotAfter.Sub(leaf.NotBefore), leaf.NotAfter.Sub(p.o.Now())
		if left < life/6 {
			p.find("tls-expired", "the certificate of %s ends %s, on %s, and was not renewed", p.hostPort(), days(left), leaf.NotAfter.Format(time.RFC3339)).mend("%s", p.renew()).Severity = Warning
		}
	}
	return true
}

// giveAuthority says how clients come to trust the certificate, which is not known to have been
// issued by Caddy unless the deployment says so.
func (p *prober) giveAuthority(leaf *x509.Certificate) string {
	install := func(file string) string {
		return fmt.Sprintf("sudo install -D -m 0644 %s /etc/docker/certs.d/%s/ca.crt   on every client; this command takes it by --ca %[1]s", file, p.base.Host)
	}
	mode := ""
	if p.Answers != nil {
		mode = p.Answers.TLS
	}
	switch {
	case mode == answers.TLSFiles && leaf != nil && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return "it signed itself: " + install(p.shown(scaffold.PathTLSCert))
	case mode == answers.TLSFiles && leaf != nil:
		return fmt.Sprintf("its issuer is %q: put that one's certificate behind it in %s where it is an intermediate one, then: %s; for an authority of your own, with its certificate as ca.crt: %s",
			leaf.Issuer, p.shown(scaffold.PathTLSCert), p.restart("caddy"), install("ca.crt"))
	case mode == answers.TLSACMEStaging:
		return fmt.Sprintf("the staging authority's certificates are for trials: %s   asks the real one, then: %s", p.cmd("init --tls acme"), p.cmd("up"))
	case mode == answers.TLSACME && p.Answers.ACMECA != "":
		root := "ca.crt"
		if p.Answers.ACMECARoot != "" {
			root = p.shown(scaffold.PathACMERoot)
		}
		return fmt.Sprintf("with the root of the authority at %s, which may be the one that its own HTTPS is trusted by: %s; where Caddy got no certificate from it: %s   shows why",
			p.Answers.ACMECA, install(root), p.logsCommand("caddy"))
	case mode == "" || mode == answers.TLSInternal:
		return fmt.Sprintf("with Caddy's own CA: %s && %s", p.dockerCompose("cp caddy:/data/caddy/pki/authorities/local/root.crt ca.crt"), install("ca.crt"))
	}
	return fmt.Sprintf("%s   shows why Caddy got no certificate from a public authority", p.logsCommand("caddy"))
}

// renew says how a new certificate comes.
func (p *prober) renew() string {
	if p.Answers != nil && p.Answers.TLS == answers.TLSFiles {
		return fmt.Sprintf("put the new certificate and its key into %s, then: %s", p.shown("secrets/tls"), p.restart("caddy"))
	}
	return fmt.Sprintf("%s   shows why it was not renewed; the certificate authority must reach port 80 or 443", p.logsCommand("caddy"))
}

func (p *prober) handshake(ctx context.Context, insecure bool) (*x509.Certificate, error) {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: p.o.Timeout}, Config: p.transport(insecure).TLSClientConfig}
	conn, err := d.DialContext(ctx, "tcp", p.hostPort())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if tc, ok := conn.(*tls.Conn); ok && len(tc.ConnectionState().PeerCertificates) > 0 {
		return tc.ConnectionState().PeerCertificates[0], nil
	}
	return nil, nil //nolint:nilnil // a server without a certificate is caught by the handshake
}

// answer is a response with its body read, up to a limit.
type answer struct {
	status int
	header http.Header
	body   []byte
}

const maxAnswer = 1 << 20 // of a body that is read, in bytes

// line is the answer for people: the status and the beginning of the body.
func (a answer) line() string {
	text := strings.Join(strings.Fields(string(a.body[:min(len(a.body), 400)])), " ")
	if text == "" {
		return fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	}
	return fmt.Sprintf("%d %s: %s", a.status, http.StatusText(a.status), text)
}

// do sends a request with a deadline. target is a path of the registry or an absolute URL.
func (p *prober) do(ctx context.Context, method, target, bearer string, body io.Reader, header ...string) (answer, error) {
	return p.doWithin(ctx, p.o.Timeout, method, target, bearer, body, header...)
}

func (p *prober) doWithin(ctx context.Context, limit time.Duration, method, target, bearer string, body io.Reader, header ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if strings.HasPrefix(target, "/") {
		target = p.base.Scheme + "://" + p.base.Host + target
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "regctl-setup-doctor")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return p.send(req)
}

func (p *prober) send(req *http.Request) (answer, error) {
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, plainError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{resp.StatusCode, resp.Header, data}, err
}

// plainError leaves out the URL, whose query may say more than it should, and names a deadline.
func plainError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		if ue.Timeout() {
			return errors.New("no answer in time")
		}
		return ue.Err
	}
	return err
}

// challengeParam finds the parameters of a challenge (RFC 9110, section 11.2).
var challengeParam = regexp.MustCompile(`([A-Za-z]+)="([^"]*)"`)

func (p *prober) challenges(ctx context.Context) bool {
	p.step("GET %s/v2/", p.base)
	before := p.o.Now()
	got, err := p.do(ctx, http.MethodGet, "/v2/", "", nil)
	if err != nil {
		p.find("registry-down", "GET /v2/: %v", err).mend("%s   shows what it waits for", p.logsCommand("registry"))
		return false
	}
	p.clock(got.header, before)
	switch {
	case got.status == http.StatusUnauthorized:
	case got.status == http.StatusOK && got.header.Get("Docker-Distribution-Api-Version") != "":
		p.find("registry-open", "GET /v2/ answers 200 without a token")
		return false
	case got.status >= http.StatusInternalServerError:
		f := p.find("registry-down", "GET /v2/ answers %d", got.status).mend("%s   shows why", p.logsCommand("registry"))
		f.Witness = got.line()
		if strings.Contains(string(got.body), "health check failed") {
			f.Message += ": the registry's own health check fails, most often because of its storage"
		}
		return false
	default:
		p.find("not-a-registry", "GET /v2/ answers %d, and a registry answers 401", got.status).Witness = got.line()
		return false
	}
	realm, params, ok := parseChallenge(got.header.Get("WWW-Authenticate"))
	if !ok {
		p.find("challenge-wrong", "the challenge is %q, and clients need Bearer with an absolute realm", got.header.Get("WWW-Authenticate"))
		return false
	}
	p.realmURL, p.service = realm, params["service"]
	if want := p.settings.text("auth.token.service"); want != "" && want != p.service {
		p.find("config-not-live", "the registry's challenge says service %q, and its configuration %q", p.service, want).mend("%s", p.restart("registry")).Pos = p.settings.at("auth.token.service")
		return false
	}
	if want := p.realm(); want != nil && !p.Embedded && !p.autoRedirect() && want.String() != realm.String() {
		p.find("config-not-live", "the registry's challenge says realm %s, and its configuration %s", realm, want).mend("%s", p.restart("registry")).Pos = p.settings.at("auth.token.realm")
		return false
	}
	return true
}

// logsCommand shows a service's log, in the deployment's runtime.
func (p *prober) logsCommand(service string) string {
	if p.Embedded {
		return "the terminal in which " + p.cmd("up") + " runs"
	}
	return p.dockerCompose("logs --tail 50 " + service)
}

// clock compares this machine's clock with the Date of an answer.
func (p *prober) clock(h http.Header, before time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// Date is cut to seconds; the answer was made between before and now.
	after := p.o.Now()
	skew := time.Duration(0)
	switch {
	case date.Add(time.Second).Before(before):
		skew = before.Sub(date)
	case date.After(after):
		skew = date.Sub(after)
	}
	const worth, hurts = 5 * time.Second, token.Leeway
	if skew <= worth {
		return
	}
	f := p.find("clock-skew", "the clocks of this machine and of the server are %s apart", skew.Round(time.Second)).mend("timedatectl set-ntp true   on both machines")
	if skew >= hurts {
		f.Severity = Error
	}
}

// realmWorks applies the clients' rules to the realm, and asks it.
func (p *prober) realmWorks(ctx context.Context) bool {
	p.step("realm %s", p.realmURL)
	if fault := realmFault(p.base, p.realmURL); fault != "" {
		p.find("realm-refused", "%s", fault)
		if p.base.Scheme == "https" && p.realmURL.Scheme != "https" {
			return false
		}
	}
	got, err := p.do(ctx, http.MethodGet, p.tokenURL(), "", nil)
	if err != nil {
		f := p.find("realm-unreachable", "%s://%s does not answer: %v", p.realmURL.Scheme, p.realmURL.Host, err)
		if p.realmMoved() {
			f.mend("write realm: %s in %s, then: %s", p.Answers.Realm(), p.shown(p.rel(p.registryFile)), p.restart("registry"))
		}
		if p.realmURL.Host == p.base.Host { // where the registry has just answered
			f.Message = fmt.Sprintf("the registry answers on %s, and the token server behind %s does not: %v", p.base.Host, p.realmURL, err)
			f.mend("%s   shows why it does not run", p.logsCommand("auth"))
		}
		return false
	}
	p.requestID = got.header.Get("X-Request-Id")
	if got.status != http.StatusOK && got.status != http.StatusUnauthorized {
		f := p.find("realm-answers-wrong", "the token endpoint answers %d", got.status)
		f.Witness = got.line()
		if got.status == http.StatusBadGateway {
			f.mend("%s   shows why it does not run", p.logsCommand("auth"))
		}
		return false
	}
	return true
}

// tokenURL is the realm with the question for a token.
func (p *prober) tokenURL(scopes ...string) string {
	u := *p.realmURL
	q := u.Query()
	q.Set("service", p.service)
	for _, s := range scopes {
		q.Add("scope", s)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Signer signs tokens as the deployment's token server does: with its key, its form of key id, and
// x5c where it sends that.
func (f *Facts) Signer(now func() time.Time) (*token.Issuer, error) {
	if f.Auth == nil || len(f.problems) > 0 {
		return nil, errors.New("the auth config can't be read or has mistakes")
	}
	cert, key := f.Auth.SigningPair()
	pair, err := keys.LoadPair(f.Resolve(key), f.Resolve(cert), keys.LoadOptions{AllowReadableKey: true})
	if err != nil {
		return nil, err
	}
	mode := token.X5CNever
	if f.Bundled {
		mode = token.X5CMode(f.Auth.Extras.X5C)
	}
	return token.New(token.Options{Issuer: f.Auth.Token.Issuer, Pair: pair, LegacyKeyID: !f.Auth.Token.DisableLegacyKeyID, X5C: mode, Now: now})
}

// sign makes a token for the account that nobody has.
func (p *prober) sign(access ...token.Access) (string, error) {
	const lifetime = 10 * time.Minute // longer than the largest upload here may take
	t, err := p.signer.Issue(token.Request{Subject: probeAccount, Audience: p.service, Access: access, Lifetime: lifetime})
	return t.Raw, err
}

// ownToken shows the registry a token of the deployment's own key.
func (p *prober) ownToken(ctx context.Context) bool {
	p.step("a token of the deployment's key")
	var err error
	if p.signer, err = p.Signer(p.o.Now); err != nil {
		p.signer = nil
		p.unsure("token-refused", "no token could be made: %v", err)
		return p.o.Account != ""
	}
	raw, err := p.sign()
	if err != nil {
		p.unsure("token-refused", "no token could be made: %v", err)
		return false
	}
	return p.accepted(ctx, raw, "a token of the deployment's key")
}

// accepted shows a token to the registry; refused, it says which part of it is wrong.
func (p *prober) accepted(ctx context.Context, raw, what string) bool {
	got, err := p.do(ctx, http.MethodGet, "/v2/", raw, nil)
	switch {
	case err != nil:
		p.find("registry-down", "GET /v2/ with a token: %v", err).mend("%s   shows what it waits for", p.logsCommand("registry"))
		return false
	case got.status == http.StatusOK:
		return true
	case got.status != http.StatusUnauthorized:
		p.find("registry-down", "GET /v2/ with a token answers %d", got.status).mend("%s   shows why", p.logsCommand("registry")).Witness = got.line()
		return false
	}
	f := p.find("token-refused", "the registry refuses %s", what)
	trust, err := p.Trust()
	if err != nil {
		f.Message += ", and what it trusts can't be read: " + err.Error()
		return false
	}
	_, _, reasons, err := trust.Judge(raw, p.o.Now())
	switch {
	case err != nil:
		f.Message += ": " + err.Error()
	case len(reasons) == 0:
		f.Message += ", although its files on disk accept it: it was started with older ones, or its clock is wrong"
		f.mend("%s", p.restart("registry"))
	default:
		var texts []string
		for _, r := range reasons {
			texts = append(texts, r.String())
		}
		f.Message += ": " + strings.Join(texts, "; ")
		f.mend("%s   names the files that differ", p.cmd("doctor --offline"))
	}
	return false
}

// logsIn goes the way of docker login.
func (p *prober) logsIn(ctx context.Context) bool {
	if p.o.Account == "" {
		return true
	}
	p.step("login as %s", p.o.Account)
	if !p.verified {
		p.unsure("login-refused", "no password is sent to a server whose certificate is not trusted")
		return true
	}
	raw, status, err := p.login(ctx, "offline_token", "true", "client_id", "docker")
	switch {
	case err != nil:
		p.find("realm-answers-wrong", "login as %q: %v", p.o.Account, err)
		return false
	case status == http.StatusUnauthorized:
		p.find("login-refused", "the token server refuses %q with this password", p.o.Account).
			mend("%s   compares it with the config; %s   sets a new one", p.cmd("user verify "+ShellWord(p.o.Account)), p.cmd("user passwd "+ShellWord(p.o.Account)))
		return true
	case status != http.StatusOK:
		p.find("login-refused", "the token server answers %d to %q", status, p.o.Account).mend("%s   shows why", p.logsCommand("auth"))
		return true
	}
	if p.signer != nil {
		if h, _, err := token.Inspect(raw); err == nil && h.KeyID != p.signer.KeyID() {
			p.find("signer-differs", "the token server signs with the key %s, and the one on disk is %s", h.KeyID, p.signer.KeyID()).mend("%s", p.restart("auth"))
			return true
		}
	}
	return p.accepted(ctx, raw, fmt.Sprintf("the token that %q got", p.o.Account))
}

// login asks the realm for a token with the password.
func (p *prober) login(ctx context.Context, params ...string) (raw string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.o.Timeout) // a password check is slow on purpose
	defer cancel()
	u := p.tokenURL()
	for i := 0; i+1 < len(params); i += 2 {
		u += "&" + params[i] + "=" + url.QueryEscape(params[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return "", 0, err
	}
	if p.o.Account != "" {
		req.SetBasicAuth(p.o.Account, p.o.Password.Reveal())
	}
	got, err := p.send(req)
	if err != nil || got.status != http.StatusOK {
		return "", got.status, err
	}
	raw, err = tokenOf(got.body)
	return raw, got.status, err
}
