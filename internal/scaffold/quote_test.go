package scaffold

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	registryyaml "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// nasty are values that break out of naive templates, or change in them.
func nasty() []string {
	return []string{
		"", " ", "a b", " lead", "trail ", "pa$word", "pa$$word", "$", "$$", "${HOME}", "${X:-y}", "$(id)", "$2y$05$abc.xyz", "`id`",
		"it's", "''", "'", `"`, `"a"`, `a"b'c`, `a\b`, `a\\b`, `\`, `\\`, `tail\`, `\'`, `a\'b`, `\n`, `\$x`, "abc #c", "#c", "a=b=c#d",
		"a: b", "- a", "[a]", "{a}", "&a", "*a", "!a", "|", ">", "%a", "@a", "? a", "~", "null", "true", "no", "0123", "1e3", "0x1f", "1_000", "2001-01-01",
		"{$REGISTRY_DOMAIN}", "{env.HOME}", "{{.A}}", "x {\n respond /pwn \"pwned\"\n}\n:21998", "a\nb", "a\r\nb", "a\tb", "a\x00b", "\u2028", "\u0085", "\ufeff", "\xff",
		"日本語", "é", "😀", strings.Repeat("x", 5000),
	}
}

// composeEnvironment reads one variable of a service back from a compose file.
func composeEnvironment(t testing.TB, compose, env string) string {
	t.Helper()
	p, err := LoadCompose(context.Background(), []byte(compose), []byte(env))
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, env, compose)
	}
	v := p.Services["x"].Environment["V"]
	if v == nil {
		t.Fatalf("the variable is lost:\n%s\n%s", env, compose)
	}
	return *v
}

// checkQuoting writes s into every format and reads it back: the same, or refused.
// It returns the formats that refused it.
func checkQuoting(t testing.TB, s string) (refused []string) {
	t.Helper()
	if q, err := yamlQuote(s); err != nil {
		refused = append(refused, "yaml")
	} else {
		var got, gotOld struct{ V string }
		if err := yaml.Unmarshal([]byte("v: "+q+"\n"), &got); err != nil || got.V != s {
			t.Errorf("yaml: %q became %q (%v)", s, got.V, err)
		}
		if err := registryyaml.UnmarshalStrict([]byte("{v: "+q+"}\n"), &gotOld); err != nil || gotOld.V != s {
			t.Errorf("yaml of the registry: %q became %q (%v)", s, gotOld.V, err)
		}
	}
	if q, err := composeQuote(s); err != nil {
		refused = append(refused, "compose")
	} else if got := composeEnvironment(t, "name: t\nservices: {x: {image: i, environment: {V: "+q+"}}}\n", ""); got != s {
		t.Errorf("compose: %q became %q", s, got)
	}
	if q, err := envQuote(s); err != nil {
		refused = append(refused, "env")
	} else {
		env := "# c\nA=1\nV=" + q + "\nB=2\n"
		vars, err := dotenv.Parse(strings.NewReader(env))
		if err != nil || vars["V"] != s || vars["B"] != "2" || len(vars) != 3 {
			t.Errorf("env: %q became %q of %d (%v)", s, vars["V"], len(vars), err)
		}
		if got := composeEnvironment(t, "name: t\nservices: {x: {image: i, environment: {V: \"${V?}\"}}}\n", env); got != s {
			t.Errorf("env through compose: %q became %q", s, got)
		}
	}
	return refused
}

// TestH1DollarInterpolation: what goes into .env or the compose file comes back exactly,
// or is refused.
func TestH1DollarInterpolation(t *testing.T) {
	t.Parallel()
	if len(nasty()) < 40 {
		t.Fatalf("%d values, want 40", len(nasty()))
	}
	for _, s := range nasty() {
		refused := strings.Join(checkQuoting(t, s), " ")
		var want []string
		if strings.ContainsAny(s, "\n\r\t\x00") || strings.ContainsAny(s, "\u2028\u0085\ufeff") || s == "\xff" {
			want = []string{"yaml", "compose", "env"}
		} else if strings.HasSuffix(s, `\`) || strings.Contains(s, `\'`) {
			want = []string{"env"}
		}
		if refused != strings.Join(want, " ") {
			t.Errorf("%q is refused by %q, want %q", s, refused, want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range nasty() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkQuoting(t, s)
		if q, err := caddyQuote(s); err == nil {
			if err := caddyBalance("x " + q + " {\n}\n"); err != nil || strings.ContainsAny(q, "\n{}") {
				t.Errorf("caddy: %q became %s (%v)", s, q, err)
			}
		}
	})
}

func TestCaddyQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"ops@example.com", "10.0.0.0/8", "a b", "a#b", "`"} {
		if q, err := caddyQuote(s); err != nil || q != `"`+s+`"` {
			t.Errorf("caddyQuote(%q) = %s, %v", s, q, err)
		}
	}
	for _, s := range []string{"{$X}", "{env.X}", "a\nb", `a"b`, `a\`, "}", "\x00"} {
		if q, err := caddyQuote(s); err == nil {
			t.Errorf("caddyQuote(%q) = %s, want an error", s, q)
		}
	}
	for _, s := range []string{"", "a b", "a}", "A", "a:1", "a\n"} {
		if q, err := caddyName(s); err == nil {
			t.Errorf("caddyName(%q) = %s, want an error", s, q)
		}
	}
}

func TestQuoterKeepsSecrets(t *testing.T) {
	t.Parallel()
	f := quoter(yamlQuote)
	if got, err := f(secret.New("a'b")); err != nil || got != "'a''b'" {
		t.Errorf("quoted secret = %s, %v", got, err)
	}
	_, err := f(secret.New("hunter2\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v; want one that hides the secret", err)
	}
	if _, err := f([]byte("x")); err == nil {
		t.Error("a value without a quoting was written")
	}
}

func TestCaddyBalance(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"a {\n}\n": true, "a {\n": false, "}\n{\n": false, "a \"}\"\n": true, "a \"\n": false, "# {\n": true, "a # {\n": true, "a#{\n": false, `a "\"{"`: true,
	} {
		if err := caddyBalance(text); (err == nil) != ok {
			t.Errorf("caddyBalance(%q) = %v, want ok %v", text, err, ok)
		}
	}
	if !bytes.Contains([]byte(caddyBalance("\n}\n").Error()), []byte("line 2")) {
		t.Error("no line in the error")
	}
}
