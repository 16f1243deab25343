package s3probe

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

const (
	gatewayKey    = "PROBEACCESSKEYID0001"
	gatewaySecret = "it-is/secret+with=all"
)

// gateway starts versitygw over a folder: VERSITYGW_BIN, or the one that the end-to-end
// tests build.
func gateway(t *testing.T) (url, dir string) {
	t.Helper()
	bin := os.Getenv("VERSITYGW_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", ".bin", "versitygw")
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skipf("no versitygw at %s, so nothing is proven on a real S3 service here: make .bin/versitygw, or name one with VERSITYGW_BIN", bin)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), bin, "--port", addr, "--quiet", "posix", dir)
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + gatewayKey, "ROOT_SECRET_KEY=" + gatewaySecret}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return "http://" + addr, dir
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %v", err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func gatewaySettings(t *testing.T, url string) Settings {
	t.Helper()
	file := filepath.Join(t.TempDir(), "s3_credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+gatewayKey+"\naws_secret_access_key = "+gatewaySecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Settings{Bucket: "images", Region: "us-east-1", Endpoint: url, PathStyle: true, CredentialsFile: file, RootDirectory: "/deep/er"}
}

// files lists what is in the bucket; what the gateway keeps beside it is its own affair.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(dir, "images"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(p, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRealBucket(t *testing.T) {
	t.Parallel()
	url, dir := gateway(t)
	s := gatewaySettings(t, url)
	if steps := Probe(t.Context(), s); steps[1].Err == nil || !strings.Contains(steps[1].Err.Error(), "does not exist") {
		t.Fatalf("without a bucket: %+v", steps[1])
	}
	s.Create = true
	for range 2 { // made, then there already
		for _, step := range Probe(t.Context(), s) {
			if step.Err != nil {
				t.Errorf("%s: %v (%s)", step.Name, step.Err, step.Hint)
			}
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	s.Region = "eu-central-1"
	if steps := Probe(t.Context(), s); steps[1].Err == nil || !strings.Contains(steps[1].Err.Error(), `expects "us-east-1"`) {
		t.Errorf("wrong region: %v", steps[1].Err)
	}
	s.Region, s.AccessKey, s.SecretKey = "us-east-1", secret.New(gatewayKey), secret.New("another")
	if steps := Probe(t.Context(), s); steps[1].Err == nil || !strings.Contains(steps[1].Hint, "secret key is wrong") {
		t.Errorf("wrong secret: %v", steps[1].Err)
	}
}

// cancelling is a transport that cancels in the middle of an upload.
type cancelling struct {
	cancel context.CancelFunc
	query  string
	next   http.RoundTripper
}

func (c cancelling) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.RawQuery, c.query) {
		c.cancel()
	}
	return c.next.RoundTrip(r)
}

// What was made is removed also when the probe is interrupted.
func TestInterruptedProbeCleansUp(t *testing.T) {
	t.Parallel()
	url, dir := gateway(t)
	s := gatewaySettings(t, url)
	s.Create = true
	for _, query := range []string{"partNumber=2", "uploadId", "list-type=2&prefix=deep"} {
		ctx, cancel := context.WithCancel(t.Context())
		s.Client = &http.Client{Transport: cancelling{cancel, query, &http.Transport{}}}
		steps := Probe(ctx, s)
		cancel()
		if OK(steps) || !slices.ContainsFunc(steps, func(s Step) bool { return s.Name == StepDelete && s.Err != nil }) {
			t.Errorf("%s: was not interrupted: %+v", query, steps)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("%s: left behind: %q", query, left)
		}
	}
}
