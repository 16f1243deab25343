package authload_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
)

// TestTLSEd25519: such a pair may serve HTTPS, where clients know it, and not sign tokens,
// where registry 2.8 dies of it.
func TestTLSEd25519(t *testing.T) {
	t.Parallel()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	f := newFolder(t, oldRules)
	f.write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.write("tls.pem", certPEM)

	f.config(strings.Replace(oldRules, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", certificate: "`+f.path("tls.pem")+`", key: "`+f.path("tls.key")+`"}`, 1))
	addr, _ := serve(t, newServer(t, f.options(), nil))
	_, port, _ := net.SplitHostPort(addr.String())
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"},
	}}
	if code, _, err := get(t, client, "https://127.0.0.1:"+port+"/auth?service=r", "alice", "testing"); err != nil || code != 200 {
		t.Errorf("over TLS with Ed25519: %d, %v", code, err)
	}

	f.config(strings.NewReplacer("@KEY@", f.path("tls.key"), "@CERT@", f.path("tls.pem")).Replace(oldRules))
	if _, _, err := authload.Load(f.options()); err == nil || !strings.Contains(err.Error(), "signing pair") || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("signing with Ed25519: %v", err)
	}
}
