package doctor_test

import (
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
