package scaffold

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// checkAnswer answers one field with s on top of p. The answer is refused, with a reason,
// or it arrives: the files pass their checks, and what reads them back finds s.
func checkAnswer(t testing.TB, p profile, f answers.Field, s string) {
	t.Helper()
	a := p.answers()
	if f.Set(&a, []string{s}) != nil || len(a.Validate()) > 0 {
		return
	}
	files, err := Plan(a, testMaterial(t, a))
	if err != nil {
		return // a format can't hold it, or the certificate doesn't name it: said, and nothing written
	}
	if err := Check(context.Background(), files); err != nil {
		t.Fatalf("%s: --%s %q: %v", p.name, f.Flag, s, err)
	}
	back, err := answers.ParseYAML(PathAnswers, fileData(t, files, PathAnswers))
	if err != nil {
		t.Fatalf("%s: --%s %q: %v", p.name, f.Flag, s, err)
	}
	if got, want := f.Get(&back), f.Get(&a); !slices.Equal(got, want) {
		t.Errorf("%s: --%s became %q, want %q", p.name, f.Flag, got, want)
	}
	auth, problems := config.Parse(PathAuth, fileData(t, files, PathAuth))
	if len(problems) > 0 {
		t.Fatalf("%s: --%s %q: %v", p.name, f.Flag, s, problems)
	}
	registry, err := RegistryConfig(fileData(t, files, PathRegistry))
	if err != nil {
		t.Fatalf("%s: --%s %q: %v", p.name, f.Flag, s, err)
	}
	r, token := a.Resolve(), registry.Auth["token"]
	if token["service"] != r.Service || token["issuer"] != r.Issuer || token["realm"] != r.Realm() || auth.Token.Issuer != r.Issuer {
		t.Errorf("%s: --%s %q: the registry reads %q, the token server issuer %q", p.name, f.Flag, s, token, auth.Token.Issuer)
	}
	if r.UsesS3() && registry.Storage.Parameters()["bucket"] != r.S3.Bucket {
		t.Errorf("%s: --%s %q: bucket %v", p.name, f.Flag, s, registry.Storage.Parameters()["bucket"])
	}
	project, err := LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv))
	if err != nil {
		t.Fatalf("%s: --%s %q: %v", p.name, f.Flag, s, err)
	}
	for service, want := range map[string]string{"auth": r.Images.Auth, "registry": r.Images.Registry, "caddy": r.Images.Caddy} {
		if got := project.Services[service].Image; got != want {
			t.Errorf("%s: --%s %q: image of %s is %q, want %q", p.name, f.Flag, s, service, got, want)
		}
	}
}

// TestNastyAnswers gives every answer nasty values, and every one of them with
// REGCTL_SETUP_SOAK=1.
func TestNastyAnswers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"acme-teams", "s3-garage"} {
		i := slices.IndexFunc(profiles(), func(p profile) bool { return p.name == name })
		if i < 0 {
			t.Fatalf("no profile %s", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for j, f := range answers.Fields() {
				for k, s := range nasty() {
					if (j+k)%5 == 0 || os.Getenv("REGCTL_SETUP_SOAK") == "1" {
						checkAnswer(t, profiles()[i], f, s)
					}
				}
			}
		})
	}
}

// FuzzEveryAnswer: whatever is answered arrives as it was, or is refused.
func FuzzEveryAnswer(f *testing.F) {
	for i, s := range []string{"it's $HOME #1: {x}", "registry.example.net", `a"b\c`, "10.0.0.0/8", "https://x.example:9000", "public/**", "alice:team=backend"} {
		f.Add(i, i*7, s)
	}
	fields, all := answers.Fields(), profiles()
	f.Fuzz(func(t *testing.T, profile, field int, s string) {
		abs := func(n, limit int) int { return (n%limit + limit) % limit }
		checkAnswer(t, all[abs(profile, len(all))], fields[abs(field, len(fields))], s)
	})
}
