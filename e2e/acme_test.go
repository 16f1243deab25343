//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestAutomaticHTTPS: the Caddyfile that init writes gets a certificate from an ACME authority by
// itself, and another one once that has run out: for a public name, and for one that Caddy would
// certify by an authority of its own. Pebble, Let's Encrypt's own test server, is the authority.
func TestAutomaticHTTPS(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"registry.example.com", "registry.corp.internal"} {
		t.Run(domain, func(t *testing.T) {
			t.Parallel()
			caddyBin := part(t, "caddy")
			at := newAddresses(t)
			authority := startPebble(t, part(t, "pebble"), at, 20*time.Second)
			s := authority.initDeployment(t, domain, at)
			home := t.TempDir()
			front := s.startCaddy(t, caddyBin, domain, home)
			roots := authority.roots(t)
			first := shown(t, front, domain, at, roots)
			if status := front.terminate(t); status != 0 {
				t.Errorf("caddy ended with %d", status)
			}
			authority.until(t, "end of the first certificate", func() error {
				if left := time.Until(first.NotAfter); left > 0 {
					return fmt.Errorf("it is valid for %s more", left)
				}
				return nil
			})
			second := shown(t, s.startCaddy(t, caddyBin, domain, home), domain, at, roots)
			if first.SerialNumber.Cmp(second.SerialNumber) == 0 || !second.NotAfter.After(first.NotAfter) {
				t.Errorf("after the end of certificate %s (%s) Caddy shows %s (%s), want a new one",
					first.SerialNumber, first.NotAfter, second.SerialNumber, second.NotAfter)
			}
		})
	}
}

// TestRenewalWhileRunning: Caddy takes a new certificate before the old one ends, without a
// restart, while clients pull. All that is changed of what init writes, but for hosts and ports, is
// how often Caddy looks at its certificates: every ten minutes would be long for a test.
func TestRenewalWhileRunning(t *testing.T) {
	t.Parallel()
	const domain = "registry.corp.internal"
	caddyBin, registryBin := part(t, "caddy"), part(t, "registry")
	at := newAddresses(t)
	authority := startPebble(t, part(t, "pebble"), at, 30*time.Second)
	s := authority.initDeployment(t, domain, at)
	rehostFile(t, filepath.Join(s.dir, "conf", "caddy", "Caddyfile"), []substitution{{"\tadmin off\n", "\tadmin off\n\trenew_interval 1s\n", 1}})
	home := t.TempDir()
	s.startAuth(t, asServe, at, home)
	s.startRegistry(t, registryBin, at, home)
	front := s.startCaddy(t, caddyBin, domain, home)
	roots := authority.roots(t)
	first := shown(t, front, domain, at, roots)

	img, err := random.Image(1<<16, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(fmt.Sprintf("%s:%d/dev-backend/app:1", domain, at.https))
	if err != nil {
		t.Fatal(err)
	}
	// A connection for every request, so that each shakes hands anew.
	through := &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", at.https))
		},
	}
	options := func(a account) []remote.Option {
		return []remote.Option{
			remote.WithContext(t.Context()), remote.WithTransport(through), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
			remote.WithAuth(&authn.Basic{Username: a.Name, Password: a.Password}),
		}
	}
	if err := remote.Write(ref, img, options(s.developer)...); err != nil {
		t.Fatalf("push: %v", err)
	}
	pull := func() error {
		got, err := remote.Image(ref, options(s.viewer)...)
		if err != nil {
			return err
		}
		return validate.Image(got)
	}

	serials, pulls, renewals := map[string]bool{first.SerialNumber.String(): true}, 0, 0
	front.until(t, "second renewal", func() error {
		if err := pull(); err != nil {
			t.Errorf("pull %d, after %d renewals: %v", pulls+1, renewals, err)
		}
		pulls++
		leaf, err := shake(domain, at, roots)
		if err != nil {
			t.Errorf("handshake %d, after %d renewals: %v", pulls, renewals, err)
		} else if serial := leaf.SerialNumber.String(); !serials[serial] {
			serials[serial] = true
			renewals++
		}
		if renewals < 2 {
			return fmt.Errorf("%d renewals during %d pulls", renewals, pulls)
		}
		return nil
	})
	t.Logf("%d pulls, %d renewals", pulls, renewals)
}

// initDeployment writes a deployment whose certificates come from the authority, and makes its
// parts run on loopback.
func (p *pebble) initDeployment(t *testing.T, domain string, at addresses) *site {
	t.Helper()
	s := initDeployment(t, "--domain", domain, "--email", "ops@example.com", "--acme-ca", p.directory, "--acme-ca-root", p.root)
	rehost(t, s.dir, domain, at)
	return s
}

// startCaddy starts the proxy of a rehosted site. It does not wait for a certificate.
func (s *site) startCaddy(t *testing.T, bin, domain, home string) *process {
	t.Helper()
	return start(t, "caddy", environ(home, "REGISTRY_DOMAIN="+domain),
		bin, "run", "--config", filepath.Join(s.dir, "conf", "caddy", "Caddyfile"), "--adapter", "caddyfile")
}

// shown waits until Caddy shows a certificate that satisfies a client right now.
func shown(t *testing.T, caddy *process, domain string, at addresses, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	caddy.until(t, "certificate", func() (err error) {
		leaf, err = shake(domain, at, roots)
		return err
	})
	return leaf
}

// shake returns the certificate that a client is shown, once it is content with it.
func shake(domain string, at addresses, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at.https), &tls.Config{ServerName: domain, RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], conn.Close()
}

// pebble is a running ACME server.
type pebble struct {
	*process
	directory  string // where clients begin
	management string
	root       string // PEM file of what its own HTTPS is trusted by
}

// startPebble starts an ACME server that asks for challenges at the ports of at, on loopback
// for every name, and whose certificates are valid for the given time.
func startPebble(t *testing.T, bin string, at addresses, validity time.Duration) *pebble {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeLoopbackCertificate(t, cert, key)
	listen, management := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management, "certificate": cert, "privateKey": key,
		"httpPort": at.http, "tlsPort": at.https,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "short", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	mustWrite(t, file, config, 0o600)
	p := &pebble{directory: "https://" + listen + "/dir", management: "https://" + management, root: cert}
	p.process = start(t, "pebble", environ(dir, "PEBBLE_VA_NOSLEEP=1"), bin, "-config", file, "-dnsserver", startLoopbackDNS(t))
	p.ready(t, httpClient(t, cert), p.directory, http.StatusOK)
	return p
}

// roots are what clients trust of what the server issues.
func (p *pebble) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.management+"/roots/0", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if got := send(t, httpClient(t, p.root), req); !pool.AppendCertsFromPEM([]byte(got.body)) {
		t.Fatalf("pebble's root: status %d: %s", got.status, got.body)
	}
	return pool
}

// writeLoopbackCertificate makes a certificate for 127.0.0.1 that is its own root.
func writeLoopbackCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loopback"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	mustWrite(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600)
}

// startLoopbackDNS answers that every name is 127.0.0.1, and has no other record (RFC 1035,
// section 4), over TCP as Pebble asks. It returns the server's address.
func startLoopbackDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go answerDNS(conn)
		}
	}()
	return l.Addr().String()
}

// answerDNS answers the questions of one connection; a length stands before each message.
func answerDNS(conn net.Conn) {
	defer conn.Close()
	for {
		var length uint16
		if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
			return
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := loopbackAnswer(query)
		if reply == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func loopbackAnswer(query []byte) []byte {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 1 + 4 // the root label, type and class
	if end > len(query) {
		return nil
	}
	reply := append([]byte{query[0], query[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, query[header:end]...) // an authoritative answer to one question
	if typ := query[end-3]; query[end-4] == 0 && typ == 1 {                                            // A
		reply[7] = 1
		// The name of the question; A, IN; a second; four bytes.
		reply = append(reply, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
	}
	return reply
}
