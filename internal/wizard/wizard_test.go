package wizard_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// defaults answers every question with its default, but for those in given, by id. It
// returns the ids in the order in which they were asked.
func run(t *testing.T, s *wizard.Session, given map[string]string) []string {
	t.Helper()
	var asked []string
	for q, ok := s.Question(); ok; q, ok = s.Question() {
		asked = append(asked, q.ID)
		text, said := given[q.ID]
		if !said {
			text = q.Default
		}
		if err := s.Answer(text); err != nil {
			t.Fatalf("%s: answer %q: %v", q.ID, text, err)
		}
		if len(asked) > 100 {
			t.Fatalf("it never ends: %v", asked)
		}
	}
	return asked
}

func start(set func(*answers.Answers), fixed ...string) wizard.Start {
	st := wizard.Start{Answers: answers.Defaults(), Fixed: map[string]bool{}}
	if set != nil {
		set(&st.Answers)
	}
	for _, f := range fixed {
		st.Fixed[f] = true
	}
	return st
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	access := []string{"anonymous-pull", "team", "user", "passwords"}
	software := []string{"registry", "engine"}
	join := func(lists ...[]string) []string { return slices.Concat(lists...) }
	for _, tc := range []struct {
		name  string
		start wizard.Start
		given map[string]string
		want  []string
	}{
		{"enter, enter, enter", start(nil), nil, join([]string{"domain", "tls", "storage"}, software, access)},
		{"a public name is asked for an e-mail address", start(nil), map[string]string{"domain": "r.example.com"},
			join([]string{"domain", "tls", "email", "storage"}, software, access)},
		{"an authority of one's own", start(func(a *answers.Answers) { a.ACMECA = "https://ca.lan/directory" }, "acme-ca"), map[string]string{"domain": "r.lan"},
			join([]string{"domain", "tls", "email", "storage"}, software, access)},
		{"own certificate", start(nil), map[string]string{"tls": "files", "tls-cert": "/c", "tls-key": "/k"},
			join([]string{"domain", "tls", "tls-cert", "tls-key", "storage"}, software, access)},
		{"behind a proxy", start(nil), map[string]string{"domain": "r.example.com", "tls": "off", "trusted-proxy:off": "10.0.0.0/8"},
			join([]string{"domain", "tls", "trusted-proxy:off", "storage"}, software, access)},
		{"aws", start(nil), map[string]string{"storage": "s3", "s3-region": "eu-central-1", "s3-bucket": "images"},
			join([]string{"domain", "tls", "storage", "s3-provider", "s3-region", "s3-bucket", "s3-credentials-file"}, software, access)},
		{"r2", start(nil), map[string]string{"storage": "s3", "s3-provider": "r2", "s3-endpoint": "https://a.r2.cloudflarestorage.com", "s3-bucket": "images", "s3-credentials-file": "/k"},
			join([]string{"domain", "tls", "storage", "s3-provider", "s3-endpoint", "s3-bucket", "s3-credentials-file"}, software, access)},
		{"minio beside", start(nil), map[string]string{"storage": "minio", "storage-image": "mirror.example.com/minio:1"},
			join([]string{"domain", "tls", "storage", "storage-image"}, software, access)},
		{"minio elsewhere", start(nil), map[string]string{"storage": "minio", "s3-endpoint": "http://minio:9000", "s3-bucket": "images", "s3-credentials-file": "/k"},
			join([]string{"domain", "tls", "storage", "storage-image", "s3-region", "s3-endpoint", "s3-bucket", "s3-credentials-file"}, software, access)},
		{"azure", start(nil), map[string]string{"storage": "azure", "azure-account": "abc", "azure-container": "images", "azure-secret-file": "/k"},
			join([]string{"domain", "tls", "storage", "azure-account", "azure-container", "azure-credentials", "azure-secret-file"}, software, access)},
		{"gcs", start(nil), map[string]string{"storage": "gcs", "gcs-bucket": "images"},
			join([]string{"domain", "tls", "storage", "gcs-bucket", "gcs-key-file"}, software, access)},
		{"names and typed passwords", start(nil), map[string]string{"anonymous-pull": "names", "user": "alice", "passwords": "typed"},
			join([]string{"domain", "tls", "storage"}, software, []string{"anonymous-pull", "anonymous-pull:names", "team", "user", "passwords", "password:admin", "password:alice"})},
		{"what flags said is not asked", start(func(a *answers.Answers) { a.Domain = "r.example.com" }, "domain", "email", "storage", "team", "user"), nil,
			join([]string{"tls"}, software, []string{"anonymous-pull", "passwords"})},
		{"embedded", start(func(a *answers.Answers) { a.Runtime = answers.RuntimeEmbedded }, "runtime"), nil, access},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := wizard.New(tc.start)
			got := run(t, s, tc.given)
			if !slices.Contains(tc.want, "s3-region") { // a service elsewhere may be asked for its region
				got = slices.DeleteFunc(got, func(id string) bool { return id == "s3-region" })
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(tc.want))
			if tc.name == "minio elsewhere" {
				want = slices.DeleteFunc(want, func(id string) bool { return id == "s3-region" })
				got = slices.DeleteFunc(got, func(id string) bool { return id == "s3-region" })
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if p := s.Problems(); len(p) > 0 {
				t.Errorf("the answers can't be written: %v", p)
			}
		})
	}
}

// TestDefaultsAreThoseOfYes: who only presses enter gets what --yes gives.
func TestDefaultsAreThoseOfYes(t *testing.T) {
	t.Parallel()
	s := wizard.New(start(nil))
	run(t, s, nil)
	if diff := cmp.Diff(answers.Defaults(), s.Answers()); diff != "" {
		t.Errorf("-defaults +wizard:\n%s", diff)
	}
	if pw := s.Passwords(); len(pw) > 0 {
		t.Errorf("passwords for %d accounts, want none typed", len(pw))
	}
}

// TestEveryFieldCanBeAnswered: whatever a flag can say, the wizard can be told.
func TestEveryFieldCanBeAnswered(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, path := range []func(*answers.Answers){
		func(*answers.Answers) {},
		func(a *answers.Answers) { a.Runtime = answers.RuntimeEmbedded },
		func(a *answers.Answers) { a.Domain, a.TLS = "r.example.com", answers.TLSFiles },
		func(a *answers.Answers) { a.Domain = "r.example.com" },
		func(a *answers.Answers) { a.Domain, a.ACMECA = "r.lan", "https://ca.lan/directory" },
		func(a *answers.Answers) { a.Storage, a.S3.Provider = answers.StorageS3, answers.ProviderGeneric },
		func(a *answers.Answers) { a.Storage = answers.StorageMinIO },
		func(a *answers.Answers) {
			a.Storage, a.Azure.Credentials = answers.StorageAzure, answers.AzureClientSecret
		},
		func(a *answers.Answers) { a.Storage = answers.StorageGCS },
		func(a *answers.Answers) { a.Logins = []string{"ldap", "oidc", "github", "gitlab", "google"} },
		func(a *answers.Answers) { a.Cache.Domain = "cache.example.com" },
	} {
		s := wizard.New(start(path))
		for _, section := range s.Sections() {
			s.Open(section)
			for _, q := range s.Pending() {
				seen[q.Flag] = true
				if q.Title == "" || q.Explain == "" || q.Label == "" || q.Section == "" {
					t.Errorf("%s: a question without words: %+v", q.ID, q)
				}
				if q.Kind == wizard.Choice && !slices.ContainsFunc(q.Options, func(o wizard.Option) bool { return o.Value == q.Default }) {
					t.Errorf("%s: default %q is no option", q.ID, q.Default)
				}
			}
		}
	}
	for _, f := range answers.Fields() {
		if !seen[f.Flag] {
			t.Errorf("--%s is asked nowhere", f.Flag)
		}
	}
}

func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	unreadable := errors.New("no such file")
	for _, tc := range []struct {
		name, id, text, want string
		given                map[string]string
	}{
		{name: "a scheme", id: "domain", text: "https://x", want: "holds a scheme"},
		{name: "an e-mail address", id: "email", text: "foo", want: "expected an e-mail address", given: map[string]string{"domain": "r.example.com"}},
		{name: "a choice that is none", id: "tls", text: "acme", want: "is not a choice"},
		{name: "an endpoint", id: "s3-endpoint", text: "minio:9000", want: "expected a URL", given: map[string]string{"storage": "s3", "s3-provider": "garage", "s3-region": "garage"}},
		{name: "an answer that must be", id: "s3-bucket", text: "", want: "missing", given: map[string]string{"storage": "s3", "s3-region": "eu-central-1"}},
		{name: "a proxy that must be", id: "trusted-proxy:off", text: "", want: "expects the address of the proxy", given: map[string]string{"domain": "r.example.com", "tls": "off"}},
		{name: "a file", id: "tls-cert", text: "/nope", want: "no such file", given: map[string]string{"tls": "files"}},
		{name: "a team", id: "team", text: "back.end", want: "expected lower-case letters"},
		{name: "a user", id: "user", text: "bob bob", want: "answered twice"},
		{name: "a password", id: "password:admin", text: "hopeless", want: "too weak", given: map[string]string{"passwords": "typed"}},
		{name: "an earlier answer stands against it", id: "registry", text: "2", want: "--s3-provider: r2 refuses",
			given: map[string]string{"storage": "s3", "s3-provider": "r2", "s3-endpoint": "https://a.r2.cloudflarestorage.com", "s3-bucket": "images", "s3-credentials-file": "/k"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			st := start(nil)
			st.Check = func(_, value string) error {
				if value == "/nope" {
					return unreadable
				}
				return nil
			}
			st.CheckPassword = func(pw secret.Text) error {
				if pw.Reveal() == "hopeless" {
					return errors.New("too weak")
				}
				return nil
			}
			s := wizard.New(st)
			for q, ok := s.Question(); ok && q.ID != tc.id; q, ok = s.Question() {
				text, said := tc.given[q.ID]
				if !said {
					text = q.Default
				}
				if err := s.Answer(text); err != nil {
					t.Fatalf("%s: %v", q.ID, err)
				}
			}
			err := s.Answer(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s %q: %v; want %q", tc.id, tc.text, err, tc.want)
			}
			if q, _ := s.Question(); q.ID != tc.id {
				t.Errorf("after a wrong answer %s is asked, want %s again", q.ID, tc.id)
			}
		})
	}
}

// TestChangingOnesMind: what belonged to the path that was left is gone, what no longer
// fits is asked again.
func TestChangingOnesMind(t *testing.T) {
	t.Parallel()
	s := wizard.New(start(nil))
	run(t, s, map[string]string{"domain": "r.example.com", "tls": "acme-staging", "storage": "s3", "s3-region": "eu-central-1", "s3-bucket": "images"})
	s.Open(wizard.SectionStorage)
	if asked := run(t, s, map[string]string{"storage": "filesystem"}); !slices.Equal(asked, []string{"storage"}) {
		t.Errorf("another storage asked %v", asked)
	}
	if got := s.Answers().S3; got != answers.Defaults().S3 {
		t.Errorf("the bucket is still there: %+v", got)
	}
	s.Open(wizard.SectionName)
	if asked := run(t, s, map[string]string{"domain": "localhost"}); !slices.Equal(asked, []string{"domain", "tls"}) {
		t.Errorf("a name that Let's Encrypt can't certify asked %v, want the certificate again", asked)
	}
	if p := s.Problems(); len(p) > 0 {
		t.Errorf("left with %v", p)
	}
}

func TestBack(t *testing.T) {
	t.Parallel()
	s := wizard.New(start(nil))
	if s.Back() {
		t.Error("there is a way back from the first question")
	}
	asked := run(t, s, map[string]string{"domain": "r.example.com"})
	for _, want := range slices.Backward(asked) {
		if !s.Back() {
			t.Fatalf("no way back to %s", want)
		}
		if q, _ := s.Question(); q.ID != want {
			t.Fatalf("back leads to %s, want %s", q.ID, want)
		}
	}
	if q, _ := s.Question(); q.Default != "r.example.com" {
		t.Errorf("the answer given before is not the default: %q", q.Default)
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	first := func(s *wizard.Session, id string) string {
		s.Open("")
		for _, q := range s.Pending() {
			if q.ID == id {
				return q.Default
			}
		}
		return "not asked"
	}
	st := start(nil)
	st.Host = "Registry.Example.COM"
	if got := first(wizard.New(st), "domain"); got != "registry.example.com" {
		t.Errorf("domain on a machine with a public name: %q", got)
	}
	st.Host = "db1.internal"
	if got := first(wizard.New(st), "domain"); got != "localhost" {
		t.Errorf("domain on a machine with a private name: %q", got)
	}
	if got := first(wizard.New(start(func(a *answers.Answers) { a.S3.Bucket = "b" }, "s3-bucket")), "storage"); got != "s3" {
		t.Errorf("storage when a bucket was given: %q", got)
	}
	if got := first(wizard.New(start(func(a *answers.Answers) { a.TLSCert = "/c" }, "tls-cert")), "tls"); got != "files" {
		t.Errorf("certificates when one was given: %q", got)
	}
	there := start(func(a *answers.Answers) { a.Domain = "old.example.com" })
	there.Existing, there.Accounts, there.Host = true, []string{"admin"}, "new.example.com"
	s := wizard.New(there)
	if got := first(s, "domain"); got != "old.example.com" {
		t.Errorf("domain of a deployment that is there: %q", got)
	}
	if got := first(s, "passwords"); got != "not asked" {
		t.Errorf("passwords of accounts that are there: %q", got)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	s := wizard.New(start(nil))
	run(t, s, map[string]string{"user": "alice bob", "passwords": "typed", "password:alice": "correct horse"})
	got := s.Passwords()
	if len(got) != 1 {
		t.Fatalf("%d passwords were typed, want alice's alone", len(got))
	}
	if pw := got["alice"]; pw.Reveal() != "correct horse" {
		t.Error("alice's password is not what was typed")
	}
	for _, l := range s.Summary() {
		if strings.Contains(l.Value, "correct horse") {
			t.Errorf("the summary shows a password: %v", l)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s := wizard.New(start(nil))
	run(t, s, map[string]string{"domain": "r.example.com", "email": "ops@example.com", "team": "backend", "user": "alice:team=backend"})
	s.Open(wizard.SectionTokens)
	run(t, s, map[string]string{"expiration": "2h"})
	want := []wizard.Line{
		{Label: "Registry", Value: "https://r.example.com"},
		{Label: "Certificate", Value: "Let's Encrypt, which writes to ops@example.com"},
		{Label: "Images", Value: "data/registry, on this machine's disk"},
		{Label: "Software", Value: "registry 3, logins by docker_auth, run by Docker Compose"},
		{Label: "Without login", Value: "nothing can be pulled"},
		{Label: "Teams", Value: "backend"},
		{Label: "Accounts", Value: "admin (administrator), alice (backend)"},
		{Label: "Passwords", Value: "made up, shown once when the files are written"},
		{Label: "And", Value: "expiration 7200"},
	}
	if diff := cmp.Diff(want, s.Summary()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
