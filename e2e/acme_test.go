//go:build e2e

package e2e

import (
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
)

// acmeDomain is a name that Caddy asks a certificate authority about: a public one.
const acmeDomain = "registry.example.com"

// TestAutomaticHTTPS: the Caddyfile that init writes gets a certificate from an ACME server by
// itself, and another one once that has run out. Pebble, Let's Encrypt's own test server, takes
// the place of their staging service, whose URL is all that changes but for hosts and ports.
func TestAutomaticHTTPS(t *testing.T) {
	t.Parallel()
	caddyBin, pebbleBin := part(t, "caddy"), part(t, "pebble")
	s := initDeployment(t, "--domain", acmeDomain, "--tls", "acme-staging", "--email", "ops@example.com")
	at := newAddresses(t)
	acme := startPebble(t, pebbleBin, at, 20*time.Second)
	rehostFile(t, filepath.Join(s.dir, "conf", "caddy", "Caddyfile"), []substitution{
		{"https://acme-staging-v02.api.letsencrypt.org/directory", acme.directory, 1},
		{"\tadmin off\n", fmt.Sprintf("\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n\thttps_port %d\n", at.http, at.https), 1},
		{"reverse_proxy auth:5001", "reverse_proxy " + at.auth, 1},
		{"reverse_proxy registry:5000", "reverse_proxy " + at.registry, 1},
		{"http://127.0.0.1:2020", "http://" + at.health, 1},
	})
	home := t.TempDir()
	startCaddy := func() *process {
		return start(t, "caddy", environ(home, "REGISTRY_DOMAIN="+acmeDomain, "SSL_CERT_FILE="+acme.root),
			caddyBin, "run", "--config", filepath.Join(s.dir, "conf", "caddy", "Caddyfile"), "--adapter", "caddyfile")
	}
	// served waits until Caddy shows a certificate that satisfies a client right now.
	served := func(caddy *process, roots *x509.CertPool) *x509.Certificate {
		var leaf *x509.Certificate
		caddy.until(t, "certificate", func() error {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at.https),
				&tls.Config{ServerName: acmeDomain, RootCAs: roots, MinVersion: tls.VersionTLS12})
			if err != nil {
				return err
			}
			leaf = conn.ConnectionState().PeerCertificates[0]
			return conn.Close()
		})
		return leaf
	}

	roots := acme.roots(t)
	caddy := startCaddy()
	first := served(caddy, roots)
	if status := caddy.terminate(t); status != 0 {
		t.Errorf("caddy ended with %d", status)
	}
	acme.until(t, "end of the first certificate", func() error {
		if left := time.Until(first.NotAfter); left > 0 {
			return fmt.Errorf("it is valid for %s more", left)
		}
		return nil
	})
	second := served(startCaddy(), roots)
	if first.SerialNumber.Cmp(second.SerialNumber) == 0 || !second.NotAfter.After(first.NotAfter) {
		t.Errorf("after the end of certificate %s (%s) Caddy shows %s (%s), want a new one",
			first.SerialNumber, first.NotAfter, second.SerialNumber, second.NotAfter)
	}
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
