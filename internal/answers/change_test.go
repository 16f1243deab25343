package answers

import (
	"slices"
	"testing"
)

func TestOverlayYAML(t *testing.T) {
	t.Parallel()
	base := full()
	got, err := OverlayYAML(base, "a.yaml", []byte("expiration: 60\n"))
	if err != nil {
		t.Fatal(err)
	}
	base.Expiration = 60
	if string(got.Marshal()) != string(base.Marshal()) {
		t.Errorf("overlay changed more than the file says:\n%s", got.Marshal())
	}
	if _, err := OverlayYAML(base, "a.yaml", []byte("nonsense: 1\n")); err == nil {
		t.Error("an unknown key was taken")
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	a := Answers{Teams: []Team{{"one"}}, Users: []User{{Name: "a"}, {Name: "b"}}}
	got := a.Merge(Answers{Teams: []Team{{"two"}, {"one"}}, Users: []User{{Name: "b", Labels: []Label{{"k", []string{"v"}}}}, {Name: "c"}}})
	if want := []Team{{"one"}, {"two"}}; !slices.Equal(got.Teams, want) {
		t.Errorf("teams %v, want %v", got.Teams, want)
	}
	var names []string
	for _, u := range got.Users {
		names = append(names, u.String())
	}
	if want := []string{"a", "b:k=v", "c"}; !slices.Equal(names, want) {
		t.Errorf("users %q, want %q", names, want)
	}
	if len(a.Users[1].Labels) != 0 {
		t.Error("the receiver was changed")
	}
}

// TestDropStale leaves a storage or a TLS mode: what belonged to it goes, what was given
// now stays and is complained of.
func TestDropStale(t *testing.T) {
	t.Parallel()
	s3 := Defaults()
	s3.Domain, s3.Storage = "registry.example.com", StorageS3
	s3.S3.Bucket, s3.S3.Region, s3.S3.CredentialsFile = "images", "eu-central-1", "keys"
	files := Defaults()
	files.TLS, files.TLSCert, files.TLSKey = TLSFiles, "c", "k"
	own := Defaults()
	own.Domain, own.TLS, own.ACMECA, own.ACMECARoot = "registry.example.com", TLSACME, "https://ca.example.com/directory", "root.pem"
	azure := Defaults()
	azure.Storage = StorageAzure
	azure.Azure = Azure{Account: "account", Container: "images", Credentials: AzureSharedKey, SecretFile: "s"}
	for _, tt := range []struct {
		name   string
		before Answers
		change func(*Answers)
		given  []string
		valid  bool
	}{
		{"s3 to disk", s3, func(a *Answers) { a.Storage = StorageFilesystem }, []string{"storage"}, true},
		{"s3 to versitygw", s3, func(a *Answers) { a.Storage = StorageVersityGW }, []string{"storage"}, true},
		{"s3 to disk with a bucket", s3, func(a *Answers) { a.Storage = StorageFilesystem }, []string{"storage", "s3-bucket"}, false},
		{"another provider needs its own place", s3, func(a *Answers) { a.S3.Provider = ProviderB2 }, []string{"s3-provider"}, false},
		{"files to internal", files, func(a *Answers) { a.TLS = TLSInternal }, []string{"tls"}, true},
		{"an authority of one's own to internal", own, func(a *Answers) { a.TLS = TLSInternal }, []string{"tls"}, true},
		{"to Let's Encrypt", own, func(a *Answers) { a.ACMECA = "" }, []string{"acme-ca"}, true},
		{"to another authority, whose root stays", own, func(a *Answers) { a.ACMECA = "https://ca2.example.com/directory" }, []string{"acme-ca"}, true},
		{"an authority and internal", own, func(a *Answers) { a.TLS = TLSInternal }, []string{"tls", "acme-ca"}, false},
		{"azure key to machine", azure, func(a *Answers) { a.Azure.Credentials = AzureDefault }, []string{"azure-credentials"}, true},
		{"nothing", s3, func(*Answers) {}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := tt.before
			tt.change(&a)
			a = a.DropStale(tt.before, func(flag string) bool { return slices.Contains(tt.given, flag) })
			if ps := a.Validate(); (len(ps) == 0) != tt.valid {
				t.Errorf("problems %v, want valid %v", ps, tt.valid)
			}
		})
	}
}
