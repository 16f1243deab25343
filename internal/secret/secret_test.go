package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func TestTextNeverShows(t *testing.T) {
	t.Parallel()
	const canary = "canary-5f3a"
	s := secret.New(canary)
	type box struct {
		Name string
		S    secret.Text
		P    *secret.Text
	}
	b := box{"n", s, &s}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", b)
		fmt.Fprintf(&out, verb+"\n", &b)
	}
	fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", s))
	j, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	y, err := yaml.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "s", s, "b", b)
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret shows in:\n%s", out.String())
	}
	if got := s.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
}
