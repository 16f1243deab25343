package doctor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// TestOneFaultOneCode: what clients see of a fault on disk is shown with that fault, and is no
// finding of its own; where it has no such cause it is one.
func TestOneFaultOneCode(t *testing.T) {
	t.Parallel()
	live := doctor.Report{Findings: []doctor.Finding{
		{Code: "token-refused", Severity: doctor.Error, Message: "the registry refuses a token"},
		{Code: "clock-skew", Severity: doctor.Warning, Message: "the clocks differ"},
	}, Unknown: []doctor.Unknown{{Code: "upload-refused", Reason: "no token"}}, Ran: 3}
	for _, c := range []struct {
		disk string
		want []string
	}{
		{"issuer-mismatch", []string{"issuer-mismatch", "clock-skew"}},
		{"key-certificate-differ", []string{"key-certificate-differ", "clock-skew"}},
		{"secret-in-git", []string{"secret-in-git", "token-refused", "clock-skew"}},
	} {
		r := doctor.Report{Findings: []doctor.Finding{{Code: c.disk, Severity: doctor.Error, Message: "on disk"}}, Ran: 1}
		r.Merge(live)
		var got []string
		witness := ""
		for _, f := range r.Findings {
			got = append(got, f.Code)
			witness += f.Witness
		}
		if !sameSet(got, c.want) || r.Ran != 4 || len(r.Unknown) != 1 {
			t.Errorf("%s: codes %q, want %q; %d checks, unknown %v", c.disk, got, c.want, r.Ran, r.Unknown)
		}
		if told := strings.Contains(witness, "refuses a token"); told != (len(got) == 2) {
			t.Errorf("%s: witness %q", c.disk, witness)
		}
	}
}

// TestForeignCertificateIsNotTrusted: a certificate that is not the key's is mended from the bundle, and
// nothing of it gets into the bundle.
func TestForeignCertificateIsNotTrusted(t *testing.T) {
	t.Parallel()
	dir := good(t, "localhost")
	put("conf/keys/server.pem", "ecdsa.pem", 0o644)(t, dir)
	bundle := read(t, filepath.Join(dir, "conf/trust/bundle.pem"))
	r := doctor.Disk(t.Context(), gather(t, dir))
	if len(r.Findings) != 1 || r.Findings[0].Code != "key-certificate-differ" || r.Findings[0].Fix.Apply == nil {
		t.Fatalf("want key-certificate-differ alone, with a fix:\n%s", show(r))
	}
	breakage{}.mended(t, dir, r)
	if got := read(t, filepath.Join(dir, "conf/trust/bundle.pem")); string(got) != string(bundle) {
		t.Error("the fix changed the registry's bundle")
	}
	if got, want := read(t, filepath.Join(dir, "conf/keys/server.pem")), read(t, filepath.Join(goldenDir, "keys/rsa.pem")); string(got) != string(want) {
		t.Errorf("the certificate is\n%s\nwant that of the key\n%s", got, want)
	}
}

// TestWrongUser: it is REGISTRY_UID that was changed where all files belong to one other user.
func TestWrongUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: owners can be changed by root only; run this test as root")
	}
	dir := good(t, "localhost")
	name := filepath.Join(dir, ".env")
	write(t, name, []byte(strings.Replace(string(read(t, name)), "REGISTRY_UID='0'", "REGISTRY_UID='1000'", 1)), 0o600)
	r := doctor.Disk(t.Context(), gather(t, dir))
	if len(r.Findings) != 1 || r.Findings[0].Code != "owner-mismatch" || r.Findings[0].Pos.File != ".env" || !strings.Contains(r.Findings[0].Fix.Text, "REGISTRY_UID='0'") {
		t.Errorf("want one owner-mismatch in .env:\n%s", show(r))
	}
}

// TestStoreOfAnotherUser: a folder below the store's own, as after a backup was brought back by root.
func TestStoreOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: owners can be changed by root only; run this test as root")
	}
	dir := good(t, "localhost")
	store := filepath.Join(dir, "data/registry/docker/registry/v2")
	if err := os.MkdirAll(filepath.Join(store, "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{store, filepath.Join(store, "blobs")} {
		if err := os.Chown(below, 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	r := doctor.Disk(t.Context(), gather(t, dir))
	if len(r.Findings) != 1 || r.Findings[0].Code != "owner-mismatch" || r.Findings[0].Fix.Text != "sudo chown -R 0 data/registry" {
		t.Errorf("want one owner-mismatch for the whole store:\n%s", show(r))
	}
}

// TestSectionUnderAnotherName: a slip in the name of a section is one finding.
func TestSectionUnderAnotherName(t *testing.T) {
	t.Parallel()
	dir := good(t, "localhost")
	name := filepath.Join(dir, "conf/registry/config.yml")
	write(t, name, []byte(strings.Replace(string(read(t, name)), "\nstorage:", "\nstorge:", 1)), 0o600)
	r := doctor.Disk(t.Context(), gather(t, dir))
	if len(r.Findings) != 1 || r.Findings[0].Code != "registry-config-invalid" || !strings.Contains(r.Findings[0].Message, "storge") {
		t.Errorf("want registry-config-invalid alone:\n%s", show(r))
	}
}

// TestEngineHint: each way not to reach an engine has its own way out.
func TestEngineHint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{doctor.ErrNoDocker, "install Docker Engine"},
		{errors.New("no Docker engine answers: permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"), "usermod -aG docker"},
		{errors.New("no Docker engine answers: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"), "systemctl start docker"},
		{errors.New("no Docker engine answers: Cannot connect to the Docker daemon at tcp://10.0.0.7:2376. Is the docker daemon running?"), "docker context ls"},
		{errors.New("the Docker engine does not answer in time"), "systemctl start docker"},
	} {
		if got := doctor.EngineHint(c.err); !strings.Contains(got, c.want) {
			t.Errorf("EngineHint(%v) = %q, want %q in it", c.err, got, c.want)
		}
	}
}

// TestFilesThatInitMakes: what holds nothing but the answers is made again by init; without .env
// the compose file's variables are no finding of their own.
func TestFilesThatInitMakes(t *testing.T) {
	t.Parallel()
	for _, file := range []string{".env", "conf/registry/config.yml", "conf/caddy/Caddyfile", "docker-compose.yml"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			dir := good(t, "localhost")
			remove(file)(t, dir)
			r := doctor.Disk(t.Context(), gather(t, dir))
			if len(r.Findings) != 1 || r.Findings[0].Code != "file-missing" || r.Findings[0].Pos.File != file || !strings.Contains(r.Findings[0].Fix.Text, "init --yes") {
				t.Errorf("want file-missing alone, with init:\n%s", show(r))
			}
		})
	}
}

// TestReadableLine: what a person sees of log lines.
func TestReadableLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`registry-1  | {"go.version":"go1.26","http.request.method":"GET","http.request.uri":"/v2/","level":"error","msg":"it failed","err.detail":"no space","time":"2026-11-24T02:14:29.15Z"}`: `registry-1 | 2026-11-24T02:14:29Z level=error msg="it failed" err.detail="no space" method=GET uri=/v2/`,
		`caddy-1 | {"level":"info","ts":1795486469.12,"msg":"handled request","request":{"method":"GET","uri":"/v2/","headers":{"Authorization":["Basic dXNlcjpwYXNzd29yZA=="]}},"status":401}`:  `caddy-1 | 2026-11-24T02:14:29Z level=info msg="handled request" status=401 method=GET uri=/v2/`,
		`plain words, Authorization: Bearer abcdefghijk`: `plain words, Authorization: ***`,
		`{"level":"info","broken`:                        `{"level":"info","broken`,
		`{"strange":true}`:                               `{"strange":true}`,
		"auth-1 | \x1b[31mred":                           "auth-1 | �[31mred",
	} {
		if got := doctor.ReadableLine(in); got != want {
			t.Errorf("ReadableLine(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}
