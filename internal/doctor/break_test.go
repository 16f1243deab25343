package doctor_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
)

// edit replaces one text of a file, which must be there exactly once.
type edit struct{ file, old, new string }

// breakage breaks a good deployment in one way.
type breakage struct {
	code    string
	profile string // "" = localhost
	edits   []edit
	// act is what no edit of a text can do; say tells it to readers.
	say string
	act func(t *testing.T, dir string)
	// fixable says that --fix mends it.
	fixable bool
	// space is the disk; nil: one with room.
	space func(string) (free, total uint64, err error)
}

func compose(old, neu string) edit  { return edit{"docker-compose.yml", old, neu} }
func registry(old, neu string) edit { return edit{"conf/registry/config.yml", old, neu} }
func caddy(old, neu string) edit    { return edit{"conf/caddy/Caddyfile", old, neu} }
func auth(old, neu string) edit     { return edit{"conf/auth/auth-server.yml", old, neu} }
func env(old, neu string) edit      { return edit{".env", old, neu} }

// remove removes a file.
func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
}

// put writes a file of the test material over one of the deployment.
func put(name, from string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), read(t, filepath.Join(goldenDir, "keys", from)), mode)
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Chmod(filepath.Join(dir, filepath.FromSlash(name)), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func git(args ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		for _, a := range append([][]string{{"init", "-q"}}, args) {
			c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, a...)...)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("git %q: %v: %s", a, err, out)
			}
		}
	}
}

func breakages() []breakage {
	return []breakage{
		{code: "file-missing", say: "rm conf/keys/server.key", act: remove("conf/keys/server.key")},
		{code: "file-missing", say: "rm conf/trust/jwks.json", act: remove("conf/trust/jwks.json"), fixable: true},
		{code: "file-missing", say: "rm -r data/registry", act: remove("data/registry")},
		{code: "answers-invalid", edits: []edit{{"regctl-setup.yaml", "domain: localhost", "domian: localhost"}}},
		{code: "mode-too-open", say: "chmod 644 conf/keys/server.key", act: chmod("conf/keys/server.key", 0o644), fixable: true},
		{code: "mode-too-open", say: "chmod 755 state", act: chmod("state", 0o755), fixable: true},
		{code: "folder-not-enterable", say: "chmod 600 conf/trust", act: chmod("conf/trust", 0o600), fixable: true},
		{code: "engine-unusable", profile: "bundled-ecdsa", say: "a script in place of engine/regctl-setup", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "engine", "regctl-setup"), []byte("#!/bin/sh\n"), 0o755)
		}},

		{code: "compose-invalid", edits: []edit{compose("    stop_grace_period: 70s", "    stop_grace_periode: 70s")}},
		{code: "single-file-mount", edits: []edit{compose("./conf/caddy:/etc/caddy:ro", "./conf/caddy/Caddyfile:/etc/caddy/Caddyfile:ro")}},

		{code: "image-gone", profile: "minio-bundled", edits: []edit{env("STORAGE_IMAGE='registry.lan/minio:2025-10-15'", "STORAGE_IMAGE='minio/minio:RELEASE.2025-09-07T16-13-09Z'")}},
		{code: "image-vulnerable", edits: []edit{env("caddy:2.11.4", "caddy:2.10.2")}},
		{code: "image-tag-floats", edits: []edit{env("registry:3.1.1", "registry:latest")}},
		{code: "registry-2-unmaintained", profile: "staging-registry2"},
		{code: "docker-auth-too-old", edits: []edit{env("docker_auth:1.14.0", "docker_auth:1.13.0"), auth("  key: conf/keys/server.key", "  key: conf/keys/server.key\n  disable_legacy_key_id: true")}},

		{code: "env-value-mangled", edits: []edit{env("REGISTRY_GID=", "STORAGE_PASSWORD=pa$word\nREGISTRY_GID=")}, fixable: true},
		{code: "env-value-mangled", edits: []edit{env("REGISTRY_GID=", "MOTTO=one #two\nREGISTRY_GID=")}, fixable: true},
		{code: "env-variable-twice", edits: []edit{env("CADDY_IMAGE='caddy:2.11.4'", "CADDY_IMAGE='caddy:2.11.3'\nCADDY_IMAGE='caddy:2.11.4'")}},
		{code: "env-variable-unset", edits: []edit{compose("      OTEL_TRACES_EXPORTER: none", "      OTEL_TRACES_EXPORTER: none\n      TZ: ${TIMEZONE}")}},
		{code: "hash-in-compose", edits: []edit{env("REGISTRY_GID=", "ADMIN='$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC'\nREGISTRY_GID=")}},
		{code: "secret-in-compose", edits: []edit{compose("      OTEL_TRACES_EXPORTER: none", "      OTEL_TRACES_EXPORTER: none\n      REGISTRY_HTTP_SECRET: 9f86d081884c7d659a2feaa0c55ad015")}},

		{code: "trust-unreadable", say: "truncate -s 0 conf/trust/bundle.pem", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "conf/trust/bundle.pem"), nil, 0o644)
		}, fixable: true},
		{code: "bundle-misses-certificate", say: "another certificate in conf/trust/bundle.pem", act: put("conf/trust/bundle.pem", "tls.pem", 0o644), fixable: true},
		{code: "jwks-misses-key", say: "a key set of another key in conf/trust/jwks.json", act: func(t *testing.T, dir string) {
			chain, err := keys.LoadCertificates(filepath.Join(goldenDir, "keys/ecdsa.pem"))
			if err != nil {
				t.Fatal(err)
			}
			data, err := keys.JWKS(chain[0].PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "conf/trust/jwks.json"), data, 0o644)
		}, fixable: true},
		{code: "trust-not-mounted", edits: []edit{compose("      - ./conf/trust:/etc/regctl-setup/trust:ro\n", "")}},
		{code: "registry-2-needs-bundle", profile: "staging-registry2", edits: []edit{registry("    rootcertbundle: /etc/regctl-setup/trust/bundle.pem\n", "")}},

		{code: "signing-key-unusable", say: "text in place of conf/keys/server.key", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "conf/keys/server.key"), []byte("no key\n"), 0o600)
		}},
		{code: "key-certificate-differ", say: "another deployment's conf/keys/server.key", act: put("conf/keys/server.key", "ecdsa.key", 0o600)},
		{code: "signing-certificate-expires", say: "a signing certificate that ends in 30 days", act: func(t *testing.T, dir string) {
			ca, err := keys.GenerateCA(keys.RSA2048, keys.Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			pair, err := ca.IssueLeaf(keys.RSA2048, 30*24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			signWith(t, dir, pair)
		}},
		{code: "rotation-unfinished", say: "keys rotate, and never again", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "state/rotation/record.json"), []byte(`{"version":1,"stage":"trusting","old_kid":"A","new_kid":"B","started":"2027-02-27T09:00:00Z","token_lifetime":900,"since":"2027-02-27T09:00:00Z"}`), 0o600)
		}},
		{code: "rotation-unfinished", say: "keys rotate, ended in the registry's last restart, and never again", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "state/rotation/record.json"), []byte(`{"version":1,"stage":"dropped","old_kid":"A","new_kid":"B","started":"2027-02-27T09:00:00Z","token_lifetime":900,"since":"2027-02-27T09:30:00Z"}`), 0o600)
		}},
		{code: "rotation-unfinished", say: "keys rotate, the restart of the token server, and never again", act: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "state/rotation/record.json"), []byte(`{"version":1,"stage":"switched","old_kid":"A","new_kid":"B","started":"2027-02-27T09:00:00Z","token_lifetime":900,"since":"2027-02-27T09:10:00Z","live":"2027-02-27T09:11:00Z"}`), 0o600)
		}},
		{code: "authority-unusable", profile: "bundled-ecdsa", say: "the key of another authority in conf/keys/ca.key", act: func(t *testing.T, dir string) {
			ca := authority(t, dir)
			put("conf/keys/ca.key", "ecdsa.key", 0o600)(t, dir)
			bundle := filepath.Join(dir, "conf/trust/bundle.pem")
			write(t, bundle, append(read(t, bundle), ca.Pair.CertPEM()...), 0o644)
		}},
		{code: "authority-unusable", profile: "bundled-ecdsa", say: "conf/keys/ca.pem taken out of conf/trust/bundle.pem", act: func(t *testing.T, dir string) { authority(t, dir) }},
		{code: "mode-too-open", profile: "bundled-ecdsa", say: "chmod 644 conf/keys/ca.key", act: func(t *testing.T, dir string) {
			ca := authority(t, dir)
			write(t, filepath.Join(dir, "conf/trust/bundle.pem"), append(read(t, filepath.Join(dir, "conf/trust/bundle.pem")), ca.Pair.CertPEM()...), 0o644)
			chmod("conf/keys/ca.key", 0o644)(t, dir)
		}, fixable: true},
		{code: "ed25519-in-bundle", profile: "staging-registry2", say: "an Ed25519 certificate in conf/trust/bundle.pem", act: func(t *testing.T, dir string) {
			bundle := filepath.Join(dir, "conf/trust/bundle.pem")
			write(t, bundle, append(read(t, bundle), ed25519Certificate(t)...), 0o644)
		}},
		{code: "disk-low", say: "a disk with 1 GB left", space: func(string) (uint64, uint64, error) { return 1 << 30, 100 << 30, nil }},
		{code: "disk-low", say: "a disk that is full", space: func(string) (uint64, uint64, error) { return 0, 100 << 30, nil }},
		{code: "key-id-not-accepted", edits: []edit{registry("    jwks: /etc/regctl-setup/trust/jwks.json\n", "")}},
		{code: "key-id-not-accepted", profile: "staging-registry2", edits: []edit{auth("  key: conf/keys/server.key", "  key: conf/keys/server.key\n  disable_legacy_key_id: true")}},
		{code: "x5c-without-bundle", profile: "bundled-ecdsa", edits: []edit{registry("    rootcertbundle: /etc/regctl-setup/trust/bundle.pem\n", "")}},
		{code: "algorithm-not-accepted", edits: []edit{registry("signingalgorithms: [RS256]", "signingalgorithms: [ES256]")}},

		{code: "issuer-mismatch", edits: []edit{auth("  issuer: 'regctl-setup'", "  issuer: 'Acme auth server'")}},
		{code: "issuer-mismatch", profile: "cache-hub", edits: []edit{{"conf/cache/config.yml", "    issuer: ", "    issuer: another # "}}},
		{code: "registry-config-invalid", profile: "cache-hub", edits: []edit{{"conf/cache/config.yml", "  draintimeout: 60s", "  draintimout: 60s\n  draintimeout: 60s"}}},
		{code: "service-mismatch", edits: []edit{registry("    service: 'localhost'", "    service: 'Docker registry'")}},
		{code: "realm-unusable", profile: "guide-two-domains", edits: []edit{registry("realm: 'https://auth.example.com/auth'", "realm: 'https://localhost/auth'")}},
		{code: "realm-path", profile: "guide-two-domains", edits: []edit{registry("realm: 'https://auth.example.com/auth'", "realm: 'https://auth.example.com/token'")}},
		{code: "domain-mismatch", edits: []edit{env("REGISTRY_DOMAIN='localhost'", "REGISTRY_DOMAIN='registry.example.com'")}},
		{code: "domain-mismatch", say: "another name for the site in conf/caddy/Caddyfile", act: replaceLine("conf/caddy/Caddyfile", "{$REGISTRY_DOMAIN:", "registry.corp.example {")},
		{code: "autoredirect-two-domains", profile: "guide-two-domains", edits: []edit{registry("    service: ", "    autoredirect: true\n    service: ")}},
		{code: "registry-address-mismatch", edits: []edit{registry("  relativeurls: true", "  relativeurls: true\n  host: https://old.example.com")}},

		{code: "registry-config-invalid", edits: []edit{registry("  draintimeout: 60s", "  draintimout: 60s\n  draintimeout: 60s")}},
		{code: "registry-config-invalid", edits: []edit{registry("http:\n", "htp:\n")}},
		{code: "http-secret-weak", say: "http.secret: somerandomstringhere", act: replaceLine("conf/registry/config.yml", "  secret: ", "  secret: somerandomstringhere")},
		{code: "drain-timeout", edits: []edit{registry("  draintimeout: 60s", "  # draintimeout: 60s")}},
		{code: "drain-timeout", edits: []edit{compose("    stop_grace_period: 70s\n", "")}},
		{code: "debug-server-exposed", edits: []edit{registry("    addr: 127.0.0.1:5001", "    addr: ':5001'")}},
		{code: "registry-env-mangled", edits: []edit{compose("      OTEL_TRACES_EXPORTER: none", "      OTEL_TRACES_EXPORTER: none\n      REGISTRY_AUTH_TOKEN_SERVICE: '123'")}, say: "also service-mismatch"},
		{code: "registry-env-refused", edits: []edit{compose("      OTEL_TRACES_EXPORTER: none", "      OTEL_TRACES_EXPORTER: none\n      REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED: 'false'")}},
		{code: "registry-read-only", edits: []edit{registry("readonly: {enabled: false}", "readonly: {enabled: true}")}},
		{code: "pull-through-cache", edits: []edit{registry("health:\n", "proxy: {remoteurl: 'https://registry-1.docker.io'}\nhealth:\n")}},
		{code: "notification-secret-logged", edits: []edit{registry("health:\n", "notifications:\n  endpoints:\n    - name: audit\n      url: http://auth:5001/events\n      headers: {Authorization: [Bearer abc]}\nhealth:\n")}},
		{code: "notification-secret-logged", profile: "bundled-ecdsa", edits: []edit{registry("url: http://auth:5002/events", "url: http://audit.example.com/events")}},
		{code: "notification-secret-logged", profile: "bundled-ecdsa", edits: []edit{registry("        Authorization: ['Bearer ", "        Authorization: ['Bearer of-something-else-")}},
		{code: "redis-settings", profile: "staging-registry2", edits: []edit{registry("health:\n", "redis: {addrs: ['redis:6379']}\nhealth:\n")}},
		{code: "traces-exported", edits: []edit{env("registry:3.1.1", "ghcr.io/distribution/distribution:3.1.1"), compose("    environment:\n      # Registry 3 sends traces to localhost:4318 by default, and logs every failure.\n      OTEL_TRACES_EXPORTER: none\n", "")}},
		{code: "registry-replicas", edits: []edit{compose("{resources: {limits: {memory: 1G, pids: 512}}}", "{replicas: 2, resources: {limits: {memory: 1G, pids: 512}}}")}},
		{code: "key-in-registry", edits: []edit{compose("      - ./conf/trust:/etc/regctl-setup/trust:ro", "      - ./conf/trust:/etc/regctl-setup/trust:ro\n      - ./conf/keys:/certs:ro")}},

		{code: "storage-drivers", edits: []edit{registry("  filesystem: {rootdirectory: /var/lib/registry}", "  filesystem: {rootdirectory: /var/lib/registry}\n  s3: {bucket: images, region: eu-central-1}")}},
		{code: "storage-section-lost", profile: "s3-aws-role", edits: []edit{compose("      OTEL_TRACES_EXPORTER: none", "      OTEL_TRACES_EXPORTER: none\n      REGISTRY_STORAGE: s3\n      REGISTRY_STORAGE_S3_BUCKET: images\n      REGISTRY_STORAGE_S3_REGION: eu-central-1")}},
		{code: "cache-with-collection", edits: []edit{registry("  maintenance:\n", "  cache: {blobdescriptor: inmemory}\n  maintenance:\n")}},
		{code: "s3-path-style", profile: "s3-garage", edits: []edit{registry("    forcepathstyle: true\n", "")}},
		{code: "s3-redirect-private", profile: "minio-existing", edits: []edit{registry("  redirect: {disable: true}\n", "")}},
		{code: "s3-incomplete", profile: "s3-aws-role", edits: []edit{registry("    region: 'eu-central-1'\n", "")}},
		{code: "storage-in-container", edits: []edit{compose("      - ./data/registry:/var/lib/registry\n", "")}},

		{code: "caddyfile-invalid", edits: []edit{caddy("\tadmin off\n", "\tadmin off\n\tservers {\n")}},
		{code: "upstream-mismatch", edits: []edit{caddy("reverse_proxy registry:5000", "reverse_proxy registry:5001")}},
		{code: "upstream-mismatch", edits: []edit{caddy("reverse_proxy auth:5001", "reverse_proxy tokens:5001")}, say: "registry-not-proxied and autoredirect-two-domains follow from it"},
		{code: "registry-not-proxied", edits: []edit{caddy("\timport auth\n", "")}, say: "autoredirect-two-domains follows from it"},
		{code: "uploads-limited", edits: []edit{caddy("\thandle @v2 {\n", "\thandle @v2 {\n\t\trequest_body {\n\t\t\tmax_size 100MB\n\t\t}\n")}},
		{code: "uploads-limited", edits: []edit{caddy("\tservers {\n", "\tservers {\n\t\ttimeouts {\n\t\t\tread_body 60s\n\t\t}\n")}},
		{code: "respond-before-proxy", edits: []edit{caddy("\timport registry\n\thandle {\n\t\trespond 404\n\t}", "\treverse_proxy /v2* registry:5000\n\trespond 404")}},
		{code: "v2-without-slash", edits: []edit{caddy("@v2 path /v2 /v2/*", "@v2 path /v2/*")}},
		{code: "caddy-admin-exposed", edits: []edit{caddy("\tadmin off\n", "\tadmin :2019\n")}},
		{code: "caddy-data-lost", edits: []edit{compose("      - caddy-data:/data\n", "")}},
		{code: "caddy-cannot-start", edits: []edit{compose("    cap_add: [NET_BIND_SERVICE]\n", "")}},
		{code: "upload-location", profile: "tls-off-behind-proxy", edits: []edit{registry("  relativeurls: true\n", ""), caddy(`trusted_proxies static "10.1.0.0/16" "2001:db8::/64" "192.0.2.7"`, "")}},
		{code: "port-published", edits: []edit{compose("    networks: [backend]\n    # Not /v2/", "    ports: ['5000:5000']\n    networks: [backend]\n    # Not /v2/")}},

		{code: "docker-auth-log-lost", edits: []edit{compose(`command: ["-logtostderr", "-v=1", conf`, `command: ["-v=1", conf`)}},
		{code: "docker-auth-logs-secrets", edits: []edit{compose(`"-v=1"`, `"-v=4"`)}},
		{code: "config-not-mounted", edits: []edit{compose("      - ./conf/auth:/srv/deployment/conf/auth:ro\n", "")}},
		{code: "health-check-protected", edits: []edit{compose("http://127.0.0.1:5001/debug/health", "http://127.0.0.1:5000/v2/")}},

		{code: "account-expires", edits: []edit{auth("  services: ['localhost']", "  services: ['localhost']\n  users: {admin: {expires: 2027-03-05}}")}},
		{code: "expiry-not-enforced", edits: []edit{auth("  services: ['localhost']", "  services: ['localhost']\n  users: {admin: {expires: 2027-02-01}}")}},
		{code: "tls-files", profile: "tls-files", say: "the key of another certificate in secrets/tls/key.pem", act: put("secrets/tls/key.pem", "rsa.key", 0o600)},
		{code: "auth-config-invalid", edits: []edit{auth("  - match: {labels: {role: administrator}}", "  - match: {team: backend}\n    actions: [pull]\n  - match: {labels: {role: administrator}}")}},
		{code: "acl-lint", edits: []edit{auth("  - match: {labels: {role: administrator}}", "  - match: {account: admin, type: repository, name: tools}\n    actions: [push]\n  - match: {labels: {role: administrator}}")}},
		{code: "acl-test-fails", edits: []edit{{"conf/acl-tests.yml", "cases:\n", "cases:\n  - who: admin\n    deny: [\"push prod/api\"]\n    reason: nobody pushes to production by hand\n"}}},
		{code: "secret-in-git", say: "git add --force conf/keys/server.key", act: git("add", "--force", "conf/keys/server.key")},
		{code: "secret-not-ignored", say: "git init, and no line about keys in .gitignore", edits: []edit{{".gitignore", "/conf/keys/*.key\n", ""}}, act: git("status", "--short"), fixable: true},
	}
}

// signWith makes a pair the deployment's, on both sides.
func signWith(t *testing.T, dir string, pair *keys.Pair) {
	t.Helper()
	jwks, err := keys.JWKS(pair.Public())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "conf/keys/server.key"), []byte(pair.KeyPEM().Reveal()), 0o600)
	write(t, filepath.Join(dir, "conf/keys/server.pem"), pair.CertPEM(), 0o644)
	write(t, filepath.Join(dir, "conf/trust/bundle.pem"), pair.CertPEM(), 0o644)
	write(t, filepath.Join(dir, "conf/trust/jwks.json"), jwks, 0o644)
}

// authority puts a new authority beside the signing key, which the registry does not trust.
func authority(t *testing.T, dir string) *keys.CA {
	t.Helper()
	o := keys.Options{Now: now}
	ca, err := keys.GenerateCA(keys.ECDSAP256, o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "conf/keys/ca.key"), []byte(ca.Pair.KeyPEM().Reveal()), 0o600)
	write(t, filepath.Join(dir, "conf/keys/ca.pem"), ca.Pair.CertPEM(), 0o644)
	return ca
}

func ed25519Certificate(t *testing.T) []byte {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old server"}, NotBefore: now(), NotAfter: now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestOwnerMismatch: files that belong to somebody else than the user of their service. Only root
// can give files away.
func TestOwnerMismatch(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: owners can be changed by root only; run this test as root")
	}
	for _, c := range []struct{ file, words string }{
		{"conf/auth/auth-server.yml", "service auth runs as user"},
		{"conf/keys/server.key", "service auth runs as user"},
		{"conf/registry/config.yml", "service registry runs as user"},
		{"data/registry", "pushes end with 500"},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			dir := good(t, "localhost")
			if err := os.Chown(filepath.Join(dir, filepath.FromSlash(c.file)), 4321, 4321); err != nil {
				t.Fatal(err)
			}
			r := doctor.Disk(t.Context(), gather(t, dir))
			if len(r.Findings) != 1 || r.Findings[0].Code != "owner-mismatch" || !strings.Contains(r.Findings[0].Message, "user 4321") || !strings.Contains(r.Findings[0].Message, c.words) {
				t.Fatalf("want owner-mismatch alone, with %q:\n%s", c.words, show(r))
			}
			// What is advised is: sudo chown UID FILE.
			if err := os.Chown(filepath.Join(dir, filepath.FromSlash(c.file)), 0, 0); err != nil {
				t.Fatal(err)
			}
			if r := doctor.Disk(t.Context(), gather(t, dir)); len(r.Findings) > 0 {
				t.Errorf("after the chown:\n%s", show(r))
			}
		})
	}
}

// TestModeThatKeepsItsOwnerOut: root reads such a file, and the service without capabilities does not.
func TestModeThatKeepsItsOwnerOut(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: others than root can't read the file either, which file-missing tells")
	}
	dir := good(t, "localhost")
	chmod("conf/auth/auth-server.yml", 0)(t, dir)
	r := doctor.Disk(t.Context(), gather(t, dir))
	if len(r.Findings) != 1 || r.Findings[0].Code != "owner-mismatch" || r.Findings[0].Fix.Apply == nil || !strings.Contains(r.Findings[0].Message, "mode 0000") {
		t.Fatalf("want owner-mismatch alone, with a fix:\n%s", show(r))
	}
	breakage{}.mended(t, dir, r)
}

// replaceLine replaces the one line that begins with the text.
func replaceLine(name, begins, line string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		re := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(begins) + ".*$")
		data := read(t, path)
		if len(re.FindAll(data, -1)) != 1 {
			t.Fatalf("%s: not one line begins with %q", name, begins)
		}
		write(t, path, re.ReplaceAll(data, []byte(line)), 0o600)
	}
}

// broken writes a good deployment and breaks it.
func (b breakage) broken(t *testing.T) string {
	t.Helper()
	profile := b.profile
	if profile == "" {
		profile = "localhost"
	}
	dir := good(t, profile)
	for _, e := range b.edits {
		path := filepath.Join(dir, filepath.FromSlash(e.file))
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(read(t, path))
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s holds %q %d times, want once", e.file, e.old, n)
		}
		write(t, path, []byte(strings.Replace(text, e.old, e.new, 1)), st.Mode().Perm())
	}
	if b.act != nil {
		b.act(t, dir)
	}
	return dir
}

// also are the codes that the breakage brings with it, as say tells.
func (b breakage) also() []string {
	var out []string
	for _, c := range doctor.Checks() {
		if c.Code != b.code && strings.Contains(b.say, c.Code) {
			out = append(out, c.Code)
		}
	}
	return out
}

func (b breakage) name(i int) string { return fmt.Sprintf("%02d-%s", i, b.code) }

// TestEachBreakageIsFound breaks a good deployment in one way: that code is found, and no other.
func TestEachBreakageIsFound(t *testing.T) {
	t.Parallel()
	alone := map[string]bool{}
	outputs := newExamples(t, "disk", len(breakages()))
	for i, b := range breakages() {
		if len(b.also()) == 0 {
			alone[b.code] = true
		}
		t.Run(b.name(i), func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS == "windows" && strings.HasPrefix(b.say, "chmod") {
				t.Skip("modes say nothing here")
			}
			dir := b.broken(t)
			space := b.space
			if space == nil {
				space = roomy
			}
			r := doctor.Disk(t.Context(), gatherOn(t, dir, space))
			var codes []string
			for _, f := range r.Findings {
				if f.Code == "registry-2-unmaintained" && b.code != f.Code {
					continue // an opinion on the profile
				}
				if !slices.Contains(codes, f.Code) {
					codes = append(codes, f.Code)
				}
				if f.Fix.Text == "" || f.Why == "" {
					t.Errorf("no mend or reason: %s", f)
				}
			}
			if want := append(b.also(), b.code); !sameSet(codes, want) {
				t.Errorf("codes %q, want %q\n%s", codes, want, show(r))
			}
			if len(r.Unknown) > 0 {
				t.Errorf("could not tell:\n%s", show(r))
			}
			if runtime.GOOS != "windows" { // paths and modes are told otherwise there
				outputs.add(i, b.code, b.text(), show(r))
			}
			if b.fixable {
				b.mended(t, dir, r)
			}
		})
	}
	if len(alone) < 35 {
		t.Errorf("%d codes are found alone, want 35 or more", len(alone))
	}
}

// mended applies the fixes: the deployment is silent again.
func (b breakage) mended(t *testing.T, dir string, r doctor.Report) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Fix.Apply == nil {
			t.Fatalf("no fix is offered: %s", f)
		}
		if done, err := f.Fix.Apply(t.Context()); err != nil || done == "" {
			t.Fatalf("fix: %q, %v", done, err)
		}
	}
	if after := doctor.Disk(t.Context(), gather(t, dir)); len(after.Findings) > 0 {
		t.Errorf("after the fix:\n%s", show(after))
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
