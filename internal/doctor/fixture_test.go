package doctor_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/sirupsen/logrus"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

var update = flag.Bool("update", false, "rewrite docs/doctor.md")

// TestMain silences the registry's and compose-go's own log, as the command line does.
func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

const goldenDir = "../scaffold/testdata"

// now is when the tests take place: the certificates of the test material are valid then.
func now() time.Time { return time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC) }

const testHash = "$2y$10$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

// elfProgram is the smallest file that passes for a static Linux program of this machine.
func elfProgram(t testing.TB) []byte {
	t.Helper()
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	for _, part := range []any{h, elf.Prog64{Type: uint32(elf.PT_LOAD)}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// material is what the answers need, with the keys of package scaffold's tests.
func material(t testing.TB, a answers.Answers) scaffold.Material {
	t.Helper()
	pair := "rsa"
	if a.KeyType == answers.KeyECDSAP256 {
		pair = "ecdsa"
	}
	key, cert := filepath.Join(goldenDir, "keys", pair+".key"), filepath.Join(goldenDir, "keys", pair+".pem")
	chain, err := keys.LoadCertificates(cert)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := keys.JWKS(chain[0].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	m := scaffold.Material{
		AuthKeyPEM: secret.New(string(read(t, key))), CertPEM: read(t, cert), Bundle: keys.Bundle(chain...), JWKS: jwks,
		HTTPSecret: secret.New(strings.Repeat("0123456789abcdef", 4)), UID: max(os.Getuid(), 0), GID: max(os.Getgid(), 0),
		StoreKeyID: secret.New("TESTSTOREACCESSKEY01"), StoreSecret: secret.New("TestStoreSecretKey0123456789abcdefghijkl"),
	}
	for _, u := range a.Accounts() {
		m.Users = append(m.Users, scaffold.UserHash{Name: u.Name, Hash: secret.New(testHash), Labels: u.Labels})
	}
	if a.S3.CredentialsFile != "" {
		m.S3Credentials = secret.New("[default]\naws_access_key_id = KEY\naws_secret_access_key = secret\n")
	}
	if a.GCS.KeyFile != "" {
		m.GCSKey = secret.New(`{"type": "service_account", "client_email": "r@p.iam.gserviceaccount.com", "private_key": "none"}`)
	}
	if a.Azure.SecretFile != "" {
		m.AzureSecret = secret.New("dGVzdC1henVyZS1hY2NvdW50LWtleQ==")
	}
	m.LoginSecrets = map[string]secret.Text{}
	for _, login := range a.Logins {
		m.LoginSecrets[login] = secret.New("test secret of " + login)
	}
	if a.LDAP.CAFile != "" {
		m.LDAPCA = read(t, filepath.Join(goldenDir, "keys/tls.pem"))
	}
	if a.ACMECARoot != "" {
		m.ACMERoot = read(t, filepath.Join(goldenDir, "keys/tls.pem"))
	}
	if a.Cache.PasswordFile != "" {
		m.CachePassword = secret.New("test password of the cache")
	}
	if a.TLS == answers.TLSFiles {
		m.TLSCertPEM, m.TLSKeyPEM = read(t, filepath.Join(goldenDir, "keys/tls.pem")), secret.New(string(read(t, filepath.Join(goldenDir, "keys/tls.key"))))
	}
	if a.BuildsImage() {
		m.EngineBinary = elfProgram(t)
	}
	return m
}

// profiles are the names of the golden deployments.
func profiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goldenDir, "golden", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden deployments: %v", err)
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".txtar"))
	}
	return out
}

// good writes a golden deployment as init does, and returns its folder.
func good(t testing.TB, profile string) string {
	t.Helper()
	ar, err := txtar.ParseFile(filepath.Join(goldenDir, "golden", profile+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var a answers.Answers
	for _, f := range ar.Files {
		if f.Name == scaffold.PathAnswers {
			if a, err = answers.ParseYAML(f.Name, f.Data); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := scaffold.Plan(a, material(t, a))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "registry")
	if err := scaffold.Write(t.Context(), safefile.FS{}, dir, files, scaffold.Dirs(a)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// roomy is a disk with room, whatever the machine's has.
func roomy(string) (free, total uint64, err error) { return 1 << 40, 1 << 41, nil }

func gather(t testing.TB, dir string) *doctor.Facts {
	t.Helper()
	return gatherOn(t, dir, roomy)
}

// gatherOn reads a deployment that lies on the disk.
func gatherOn(t testing.TB, dir string, space func(string) (free, total uint64, err error)) *doctor.Facts {
	t.Helper()
	d, err := doctor.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := doctor.Gather(t.Context(), doctor.Options{Deployment: d, Now: now, Space: space})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func show(r doctor.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.String() + "\n    mend: " + f.Fix.Text + "\n")
	}
	for _, u := range r.Unknown {
		b.WriteString("can't tell: " + u.Code + ": " + u.Reason + "\n")
	}
	return b.String()
}
