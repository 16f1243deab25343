package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

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
