package doctor_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// TestBucketInContainer: a store that only containers know by name is tried at its container's
// address, and where that is not known it is told that it was not tried.
func TestBucketInContainer(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1000)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>`))
	}))
	t.Cleanup(store.Close)
	host, port, err := net.SplitHostPort(store.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := good(t, "minio-bundled")
	replaceLine("conf/registry/config.yml", "    regionendpoint: ", "    regionendpoint: 'http://minio:"+port+"'")(t, dir)
	for _, c := range []struct {
		name      string
		container func(context.Context, string) (string, error)
		severity  doctor.Severity
		words     string
		asked     bool
	}{
		{"its address is known", func(_ context.Context, service string) (string, error) {
			if service != "minio" {
				return "", errors.New("asked for " + service)
			}
			return host, nil
		}, doctor.Error, "no such key", true},
		{"the engine does not tell", func(context.Context, string) (string, error) { return "", errors.New("it does not run") }, doctor.Info, "it does not run", false},
		{"nobody is asked", nil, doctor.Info, "for the containers only", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for len(asked) > 0 {
				<-asked
			}
			report, err := doctor.Live(t.Context(), gather(t, dir), doctor.LiveOptions{URL: "http://127.0.0.1:1", Write: true, Timeout: 2 * time.Second, Container: c.container})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(report.Findings, func(f doctor.Finding) bool { return f.Code == "bucket-fails" })
			if i < 0 || report.Findings[i].Severity != c.severity || !strings.Contains(show(report), c.words) {
				t.Errorf("want bucket-fails (%s) with %q:\n%s", c.severity, c.words, show(report))
			}
			select {
			case got := <-asked:
				if want := "minio:" + port; !c.asked || got != want {
					t.Errorf("the store was asked as %q, want %q (asked: %v)", got, want, c.asked)
				}
			default:
				if c.asked {
					t.Error("the store was not asked")
				}
			}
		})
	}
}

// TestBucketThatDenies: the store's answer is told, also where the registry is not up.
func TestBucketThatDenies(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 100)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Header.Get("Authorization"):
		default:
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`))
	}))
	t.Cleanup(store.Close)
	dir := good(t, "s3-garage")
	config := filepath.Join(dir, "conf/registry/config.yml")
	write(t, config, []byte(strings.Replace(string(read(t, config)), "http://garage.lan:3900", store.URL, 1)), 0o600)
	// No registry listens on port 1.
	o := doctor.LiveOptions{URL: "http://127.0.0.1:1", Write: true, Timeout: time.Second}
	report, err := doctor.Live(t.Context(), gather(t, dir), o)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, f := range report.Findings {
		codes = append(codes, f.Code)
	}
	if !slices.Contains(codes, "bucket-fails") || !slices.Contains(codes, "port-closed") {
		t.Errorf("codes %q, want bucket-fails and port-closed\n%s", codes, show(report))
	}
	if !strings.Contains(show(report), "conf/registry/config.yml") {
		t.Errorf("the finding does not say where:\n%s", show(report))
	}
	select {
	case authorization := <-asked:
		if !strings.Contains(authorization, "Credential=KEY/") {
			t.Errorf("the store was asked with %q, not with the registry's own key", authorization)
		}
	default:
		t.Error("the store was not asked")
	}
	// Without --write nothing is written there.
	for len(asked) > 0 {
		<-asked
	}
	o.Write = false
	if _, err := doctor.Live(t.Context(), gather(t, dir), o); err != nil || len(asked) > 0 {
		t.Errorf("without Write: %v, %d requests to the store", err, len(asked))
	}
}
