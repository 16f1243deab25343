package s3probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// settings are those of a probe of the service at url.
func settings(url string) Settings {
	return Settings{Bucket: "images", Region: "us-east-1", Endpoint: url, PathStyle: true,
		AccessKey: secret.New("KEYIDKEYIDKEYIDKEYID"), SecretKey: secret.New("SECRETSECRET"), Rand: strings.NewReader("12345678"), StepTimeout: 5 * time.Second}
}

// refusing answers every request of a bucket's listing with an S3 error.
func refusing(t *testing.T, status int, code, message string, change func(http.Header)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if change != nil {
			change(w.Header())
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestErrorsAreExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status        int
		code, message string
		change        func(http.Header)
		want, hint    string
	}{
		{404, "NoSuchBucket", "The specified bucket does not exist", nil, `bucket "images" does not exist`, "s3 init"},
		{403, "AccessDenied", "Access Denied", nil, "may not s3:ListBucket (AccessDenied", "arn:aws:s3:::images in"},
		{403, "SignatureDoesNotMatch", "no match", nil, "SignatureDoesNotMatch", "secrets/s3_credentials"},
		{403, "InvalidAccessKeyId", "unknown", nil, "InvalidAccessKeyId", "another provider"},
		{400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'", nil, `"us-east-1" is set, the service expects "eu-central-1"`, "--s3-region eu-central-1"},
		{301, "PermanentRedirect", "use another endpoint", nil, "wrong region", "--s3-region"},
		{403, "RequestTimeTooSkewed", "too large", func(h http.Header) { h.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)) }, "ahead", "NTP"},
		{403, "RequestTimeTooSkewed", "too large", func(h http.Header) { h.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)) }, "behind", "NTP"},
		{501, "NotImplemented", "no", nil, "NotImplemented", "can't be the registry's store"},
		{400, "ExpiredToken", "old", nil, "ExpiredToken", "keys that last"},
		{418, "Teapot", "short and stout", nil, "Teapot: short and stout", ""},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			steps := Probe(t.Context(), settings(refusing(t, c.status, c.code, c.message, c.change).URL))
			if len(steps) != 9 || steps[0].Err != nil {
				t.Fatalf("steps = %+v", steps)
			}
			s := steps[1]
			if s.Name != StepBucket || s.Err == nil || !strings.Contains(s.Err.Error(), c.want) || !strings.Contains(s.Hint, c.hint) || (c.hint == "") != (s.Hint == "") {
				t.Errorf("%s: %v (hint %q), want %q (hint %q)", s.Name, s.Err, s.Hint, c.want, c.hint)
			}
			for _, s := range steps[2:] {
				if !errors.Is(s.Err, ErrSkipped) || s.Took != 0 {
					t.Errorf("%s: %v, want it skipped", s.Name, s.Err)
				}
			}
			if OK(steps) {
				t.Error("OK says yes")
			}
			for _, s := range steps {
				if strings.Contains(fmt.Sprint(s.Err, s.Hint), "SECRETSECRET") {
					t.Errorf("%s shows the secret", s.Name)
				}
			}
		})
	}
}

func TestNetworkErrorsAreExplained(t *testing.T) {
	t.Parallel()
	plain := refusing(t, 404, "NoSuchBucket", "x", nil)
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tlsServer.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, c := range map[string]struct {
		change     func(*Settings)
		want, hint string
	}{
		"plain http":    {func(s *Settings) { s.Endpoint = "https://" + strings.TrimPrefix(plain.URL, "http://") }, "speaks plain HTTP", "http://"},
		"own authority": {func(s *Settings) { s.Endpoint = tlsServer.URL }, "authority that is not trusted", "public authority"},
		"refused":       {func(s *Settings) { s.Endpoint = closed.URL }, "refuses connections", "running"},
		"host style": {func(s *Settings) { s.Endpoint, s.PathStyle = "http://nowhere.invalid", false },
			"no such host: images.nowhere.invalid", "forcepathstyle"},
		"service name": {func(s *Settings) { s.Endpoint = "http://s3-that-nobody-has:7070" }, "no such host", "--endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(plain.URL)
			c.change(&s)
			steps := Probe(t.Context(), s)
			if got := steps[1]; got.Err == nil || !strings.Contains(got.Err.Error(), c.want) || !strings.Contains(got.Hint, c.hint) {
				t.Errorf("%v (hint %q), want %q (hint %q)", got.Err, got.Hint, c.want, c.hint)
			}
		})
	}
}

// A service that does not answer costs one deadline, not one for each step.
func TestDeadline(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(block); server.Close() })
	s := settings(server.URL)
	s.StepTimeout = 50 * time.Millisecond
	steps := Probe(t.Context(), s)
	if err := steps[1].Err; err == nil || !strings.Contains(err.Error(), "no answer") || asked.Load() > 2 {
		t.Errorf("bucket: %v after %d requests", err, asked.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range Probe(ctx, s) {
		if step.Err == nil {
			t.Errorf("%s went well without time", step.Name)
		}
	}
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	s := settings(refusing(t, 403, "AccessDenied", "x", nil).URL)
	s.AccessKey = secret.Text{}
	s.CredentialsFile = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(s.CredentialsFile, []byte("[other]\naws_access_key_id = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	steps := Probe(t.Context(), s)
	if err := steps[0].Err; err == nil || !strings.Contains(err.Error(), s.CredentialsFile) || !strings.Contains(steps[0].Hint, "[default]") {
		t.Errorf("credentials: %v (hint %q)", err, steps[0].Hint)
	}
}

// Without keys for the bucket nothing of this process's environment is taken instead.
func TestEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("AWS_REGION", "mars-1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "OFTHEENVIRONMENT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	var header atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	Probe(t.Context(), settings(server.URL))
	got, _ := header.Load().(string)
	if !strings.Contains(got, "KEYIDKEYID") || !strings.Contains(got, "/us-east-1/s3/") {
		t.Errorf("signed as %q", got)
	}
}

func TestFromParameters(t *testing.T) {
	t.Parallel()
	s, err := FromParameters(map[string]any{"bucket": "b", "region": "r", "regionendpoint": "http://x", "forcepathstyle": true, "secure": "false",
		"rootdirectory": "/d", "accesskey": 123, "secretkey": "s", "encrypt": true, "chunksize": 1})
	if err != nil || s.Bucket != "b" || !s.PathStyle || !s.PlainHTTP || s.AccessKey.Reveal() != "123" || s.RootDirectory != "/d" || !s.Encrypt {
		t.Errorf("FromParameters = %+v, %v", s, err)
	}
	_, err = FromParameters(map[string]any{"forcepathstyle": "perhaps", "v4auth": false})
	for _, want := range []string{"bucket: missing", "region: missing", `"perhaps"`, "v4auth"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// A listing that lies is found out.
func TestServiceThatForgets(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Has("list-type") {
			_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
			return
		}
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "something else")
		}
	}))
	t.Cleanup(server.Close)
	for _, step := range Probe(t.Context(), settings(server.URL)) {
		switch step.Name {
		case StepList:
			if step.Err == nil || !strings.Contains(step.Err.Error(), "not listed") {
				t.Errorf("list: %v", step.Err)
			}
		case StepGet:
			if step.Err == nil || !strings.Contains(step.Err.Error(), "changed") {
				t.Errorf("get: %v", step.Err)
			}
		}
	}
}
