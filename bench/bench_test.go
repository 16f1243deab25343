package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The whole of it, for a moment: every measurement gets good answers and nothing else.
func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	svg := filepath.Join(t.TempDir(), "plot.svg")
	err := run(t.Context(), []string{"-for", "100ms", "-key", "ecdsa-p256", "-accounts", "5", "-rate", "200", "-clients", "2", "-audit", "-svg", svg}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty handler", "signing alone", "never-seen tokens", "repeated tokens", "open loop at 200/s"} {
		found := false
		for line := range strings.Lines(out.String()) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				found = true
				if f := strings.Fields(rest); len(f) < 5 || f[0] == "0" || f[1] != "0" {
					t.Errorf("%s: rate and errors %q", name, f)
				}
			}
		}
		if !found {
			t.Errorf("no line for %s:\n%s", name, out.String())
		}
	}
	data, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(data)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot: %v", err)
		}
	}
}

// A server that refuses is no fast server.
func TestRunURL(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	for _, want := range []bool{true, false} {
		_, err := withServer(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), func(addr string) (result, error) {
			return result{}, run(t.Context(), []string{"-for", "50ms", "-rate", "100", "-clients", "1", "-url", "http://" + addr + "/x"}, io.Discard)
		})
		if (err == nil) != want {
			t.Errorf("status %d: error %v", status, err)
		}
		status = http.StatusUnauthorized
	}
	for _, args := range [][]string{{"-clients", "0"}, {"-key", "dsa"}, {"-url", "https://localhost/"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
