//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
)

// TestSigningKeyRotatesItself: both registries take tokens across the change to a key that the
// server made itself, while clients push and pull.
func TestSigningKeyRotatesItself(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry", "docker-registry"} {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, registry, asServe, "--engine", "bundled", "--key-type", "rsa-2048")
			loops := s.busy(t)
			before := s.header(t)
			dir := filepath.Join(s.dir, "conf", "keys")
			pair, err := keys.LoadPair(filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.pem"), keys.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			keyPEM, certPEM := leafOfYesterday(t, pair)
			// By renames, certificate last: between the two the pair does not fit, and the old one
			// stays in force.
			for name, data := range map[string][]byte{"server.key": keyPEM, "server.pem": certPEM} {
				mustWrite(t, filepath.Join(dir, name+".new"), data, 0o600)
				if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the old key", func() error {
				if s.header(t) == before {
					return errors.New("the first key still signs")
				}
				return nil
			})
			disk := s.header(t)
			loops.rounds(t, 1)
			config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
			data, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, config, []byte(strings.Replace(string(data), "x-regctl-setup:\n", "x-regctl-setup:\n  rotate_signing_key: 1h\n", 1)), 0o600)
			if strings.Count(string(data), "x-regctl-setup:\n") != 1 {
				t.Fatalf("%s: no place for a setting:\n%s", config, data)
			}
			eventually(t, "a key that the server made", func() error {
				if s.header(t) == disk {
					return errors.New("the key on disk still signs")
				}
				return nil
			})
			loops.rounds(t, 2)
			own := s.header(t)
			cli(t, "", "-C", s.dir, "user", "add", "another", "--generate")
			loops.rounds(t, 2)
			if s.header(t) != own {
				t.Error("a reload changed the key")
			}
			loops.end(t)
		})
	}
}

// leafOfYesterday is a signing pair of the authority that the registry trusts, 30 hours old:
// the authority itself makes none that began before it did.
func leafOfYesterday(t *testing.T, ca *keys.Pair) (keyPEM, certPEM []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "yesterday"},
		NotBefore: time.Now().Add(-30 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf(), key.Public(), ca.Signer)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), certPEM
}
