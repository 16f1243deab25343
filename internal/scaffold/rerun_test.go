package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

var rerunTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// generated returns a folder as init makes it, in memory, with its record.
func generated(t testing.TB, a answers.Answers) Disk {
	t.Helper()
	files, err := Plan(a, testMaterial(t, a))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, NewRecord(a, files).File())
	d := Disk{Files: map[string]Existing{}, Folders: map[string]bool{}, Backups: map[string][]string{}}
	for _, f := range files {
		d.Files[f.Path] = Existing{Data: f.Data, Mode: f.Mode}
	}
	for name := range Dirs(a) {
		d.Folders[name] = true
	}
	return d
}

// input is a second run on d, with the record that is in it.
func input(t testing.TB, d Disk, before, after answers.Answers) RerunInput {
	t.Helper()
	in := RerunInput{
		Disk: d, Old: before, New: after, OldMaterial: testMaterial(t, before), Material: testMaterial(t, after), Now: rerunTime,
	}
	in.OldMaterial.Project = before.Resolve().ProjectName()
	in.Material.Project = in.OldMaterial.Project
	if f, ok := d.Files[PathRecord]; ok {
		r, err := ParseRecord(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		in.Record = &r
	}
	return in
}

func planRerun(t testing.TB, in RerunInput) *Rerun {
	t.Helper()
	p, err := PlanRerun(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	return p
}

// after returns the folder with the plan applied.
func (p *Rerun) after(d Disk) Disk {
	next := Disk{Files: maps.Clone(d.Files), Folders: maps.Clone(d.Folders), Backups: map[string][]string{}}
	for _, c := range p.changes() {
		if c.Remove {
			delete(next.Files, c.Path)
			continue
		}
		next.Files[c.Path] = Existing{Data: c.Data, Mode: c.Mode}
	}
	for name := range p.dirs {
		next.Folders[name] = true
	}
	for name := range next.Files {
		if file, _, ok := strings.Cut(name, backupMark); ok {
			next.Backups[file] = append(next.Backups[file], name)
		}
	}
	return next
}

func status(t testing.TB, p *Rerun, path string) Item {
	t.Helper()
	for _, i := range p.Items {
		if i.Path == path {
			return i
		}
	}
	t.Fatalf("nothing is planned about %s", path)
	return Item{}
}

// changes are the second runs that the golden differences show.
func rerunProfiles() []struct {
	name          string
	before, after func(*answers.Answers)
} {
	nothing := func(*answers.Answers) {}
	return []struct {
		name          string
		before, after func(*answers.Answers)
	}{
		{"domain", public, func(a *answers.Answers) { a.Domain = "images.example.net" }},
		{"registry-3-to-2", public, func(a *answers.Answers) { a.Registry = 2 }},
		{"storage-disk-to-versitygw", public, func(a *answers.Answers) { a.Storage = answers.StorageVersityGW }},
		{"storage-disk-to-s3", public, func(a *answers.Answers) {
			a.Storage, a.S3.Bucket, a.S3.Region = answers.StorageS3, "acme-registry", "eu-central-1"
		}},
		{"engine-bundled", public, func(a *answers.Answers) { a.Engine = answers.EngineBundled }},
		{"audit-added", public, func(a *answers.Answers) { a.Audit = true }},
		{"audit-removed", func(a *answers.Answers) { public(a); a.Audit = true }, func(a *answers.Answers) { a.Audit = false }},
		{"audit-to-bundled", func(a *answers.Answers) { public(a); a.Audit = true }, func(a *answers.Answers) { a.Engine = answers.EngineBundled }},
		{"anonymous-none-to-all", public, func(a *answers.Answers) { a.AnonymousPull = answers.AnonymousAll }},
		{"anonymous-all-to-pattern", func(a *answers.Answers) { public(a); a.AnonymousPull = answers.AnonymousAll },
			func(a *answers.Answers) { a.AnonymousPull = "public/**" }},
		{"anonymous-pattern-to-none", func(a *answers.Answers) { public(a); a.AnonymousPull = "public/**" },
			func(a *answers.Answers) { a.AnonymousPull = answers.AnonymousNone }},
		{"team-first", nothing, func(a *answers.Answers) {
			a.Teams, a.Users = []answers.Team{{Name: "backend"}}, []answers.User{team("alice", "backend")}
		}},
		{"team-second", func(a *answers.Answers) { a.Teams = []answers.Team{{Name: "backend"}} },
			func(a *answers.Answers) { a.Teams = append(a.Teams, answers.Team{Name: "web"}) }},
		{"own-namespace", public, func(a *answers.Answers) { a.OwnNamespace = true }},
		{"tls-internal-to-files", func(a *answers.Answers) { public(a); a.Email, a.TLS = "", answers.TLSInternal },
			func(a *answers.Answers) {
				a.TLS, a.TLSCert, a.TLSKey = answers.TLSFiles, "/etc/ssl/full.pem", "/etc/ssl/key.pem"
			}},
		{"acme-to-own-authority", public, func(a *answers.Answers) {
			a.ACMECA, a.ACMECARoot = "https://ca.example.com/acme/acme/directory", "root_ca.crt"
		}},
		{"expiration-issuer-service", public, func(a *answers.Answers) { a.Expiration, a.Issuer, a.Service = 1800, "Acme's", "Registry" }},
		{"cache-added", public, func(a *answers.Answers) { a.Cache.Domain = "hub.example.com" }},
		{"ports", public, func(a *answers.Answers) { a.HTTPPort, a.HTTPSPort = 8080, 8443 }},
	}
}

// TestRerunGolden shows what other answers make of a folder, and that once is enough.
func TestRerunGolden(t *testing.T) {
	t.Parallel()
	for _, p := range rerunProfiles() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			before := answers.Defaults()
			p.before(&before)
			after := before
			after.Teams = slices.Clone(before.Teams)
			p.after(&after)
			d := generated(t, before)
			in := input(t, d, before, after)
			plan := planRerun(t, in)
			var b strings.Builder
			for _, i := range plan.Items {
				if i.Status != Unchanged {
					fmt.Fprintf(&b, "%s %s: %s\n", i.Status, i.Path, i.Note)
				}
			}
			for _, n := range plan.Notes {
				fmt.Fprintf(&b, "note: %s\n", n)
			}
			got := b.String() + plan.Diff(func(p string) string { return p })
			golden := filepath.Join("testdata", "rerun", p.name+".diff")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got; -update rewrites it):\n%s", golden, diff)
			}
			for _, s := range []string{testHTTPSecret, testHash, testStoreSecret} {
				if strings.Contains(got, s) {
					t.Errorf("the difference shows a secret: %s", s)
				}
			}
			again := input(t, plan.after(d), after, after)
			again.Material.Project = in.Material.Project
			if p := planRerun(t, again); p.Pending() || !p.Recorded() {
				t.Errorf("a second run is not content: %q", p.Written())
			}
		})
	}
}

// TestRerunUnchanged plans every profile again: nothing to do, with the record and without.
func TestRerunUnchanged(t *testing.T) {
	t.Parallel()
	for _, p := range profiles() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := p.answers()
			d := generated(t, a)
			if plan := planRerun(t, input(t, d, a, a)); plan.Pending() || !plan.Recorded() || len(plan.Notes) > 0 {
				t.Errorf("writes %q, notes %q", plan.Written(), plan.Notes)
			}
			delete(d.Files, PathRecord)
			if plan := planRerun(t, input(t, d, a, a)); plan.Pending() || plan.Recorded() {
				t.Errorf("without a record: writes %q, recorded %v", plan.Written(), plan.Recorded())
			}
		})
	}
}

// edit changes one file of a folder as a person would.
func (d Disk) edit(t testing.TB, path, old, text string) {
	t.Helper()
	f, ok := d.Files[path]
	if !ok || !strings.Contains(string(f.Data), old) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	f.Data = []byte(strings.Replace(string(f.Data), old, text, 1))
	d.Files[path] = f
}

func TestRerunKeepsHandEdits(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	public(&a)
	a.Teams = []answers.Team{{Name: "backend"}}
	b := a
	b.Domain = "images.example.net"
	for _, tt := range []struct {
		name            string
		path, old, text string
		after           answers.Answers
		force           bool
		status          Status
		write, backup   bool
	}{
		{"edited", PathCaddyfile, "protocols h1 h2", "protocols h1", a, false, Edited, false, false},
		{"edited, forced", PathCaddyfile, "protocols h1 h2", "protocols h1", a, true, Edited, true, true},
		{"both", PathCaddyfile, "protocols h1 h2", "protocols h1", b, false, Both, false, false},
		{"both, forced", PathCaddyfile, "protocols h1 h2", "protocols h1", b, true, Both, true, true},
		{"env is merged", PathEnv, "registry:3", "registry.lan/registry:3", b, false, Both, true, false},
		{"env is merged, forced", PathEnv, "registry:3", "registry.lan/registry:3", b, true, Both, true, true},
		{"test cases stay", PathACLTests, "deny:", "deny: # mine", a, true, Edited, false, false},
		{"compose", PathCompose, "memory: 1G", "memory: 4G", a, false, Edited, false, false},
		{"answers with a comment", PathAnswers, "domain:", "# ours\ndomain:", a, false, Unchanged, false, false},
		{"answers with a comment, changed", PathAnswers, "domain:", "# ours\ndomain:", b, false, Changed, true, true},
		{"rules are a person's", PathAuth, "actions: [pull]", "actions: []", a, true, Unchanged, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := generated(t, a)
			d.edit(t, tt.path, tt.old, tt.text)
			in := input(t, d, a, tt.after)
			in.Force = tt.force
			plan := planRerun(t, in)
			i := status(t, plan, tt.path)
			if i.Status != tt.status || i.Write != tt.write || (i.Backup != "") != tt.backup {
				t.Errorf("%s: status %s, write %v, backup %q; want %s, %v, %v", tt.path, i.Status, i.Write, i.Backup, tt.status, tt.write, tt.backup)
			}
			after := plan.after(d)
			if i.Backup != "" && string(after.Files[i.Backup].Data) != string(d.Files[tt.path].Data) {
				t.Error("the backup is not what was replaced")
			}
			if i.Backup != "" && !IsBackup(tt.path, i.Backup) {
				t.Errorf("%q is not taken for a backup", i.Backup)
			}
			if !tt.write && string(after.Files[tt.path].Data) != string(d.Files[tt.path].Data) {
				t.Error("the file changed")
			}
			if tt.path == PathEnv && !tt.force {
				got := string(after.Files[PathEnv].Data)
				if !strings.Contains(got, "registry.lan/registry:3") || !strings.Contains(got, "REGISTRY_DOMAIN='images.example.net'") {
					t.Errorf("merged:\n%s", got)
				}
			}
		})
	}
}

// TestRerunRefusesDisagreement: a kept file that would break logins stops the run.
func TestRerunRefusesDisagreement(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	b := a
	b.Issuer = "another"
	d := generated(t, a)
	d.edit(t, PathRegistry, "level: info", "level: debug")
	in := input(t, d, a, b)
	plan, err := PlanRerun(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "issuer") {
		t.Errorf("error %v, want one about the issuer", err)
	}
	if err := plan.Apply(context.Background(), safefile.FS{}, t.TempDir(), safefile.LockOptions{}); err == nil {
		t.Error("a plan that failed its check was applied")
	}
	in.Force = true
	if p := planRerun(t, in); !p.Pending() {
		t.Error("with force nothing is written")
	}
}

// TestRerunLeavesRules changes rules by hand that answers then change too.
func TestRerunLeavesRules(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	a.AnonymousPull = answers.AnonymousAll
	b := a
	b.AnonymousPull, b.Expiration, b.Users = "public/**", 60*60*2, []answers.User{{Name: "carol"}}
	d := generated(t, a)
	d.edit(t, PathAuth, "comment: Everything can be pulled without a login.", "comment: mine")
	d.edit(t, PathAuth, "      account: ''\n      type: repository\n", "      account: ''\n      type: repository\n      name: 'mine/*'\n")
	d.edit(t, PathAuth, "expiration: 3600", "expiration: 999")
	d.edit(t, PathAuth, "users:\n", "users:\n  'carol':\n    password: '"+testHash+"'\n")
	plan := planRerun(t, input(t, d, a, b))
	notes := strings.Join(plan.Notes, "\n")
	for _, want := range []string{"changed or removed by hand", "999 seconds", `user "carol" is there already`} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in:\n%s", want, notes)
		}
	}
	if i := status(t, plan, PathAuth); i.Write {
		t.Errorf("the rules were changed:\n%s", plan.Diff(func(p string) string { return p }))
	}
}

func TestRerunMissingAndUnused(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	a.Storage = answers.StorageVersityGW
	b := answers.Defaults()
	d := generated(t, a)
	delete(d.Files, PathCaddyfile)
	delete(d.Files, PathJWKS)
	delete(d.Folders, "audit")
	plan := planRerun(t, input(t, d, a, b))
	for path, want := range map[string]Status{
		PathCaddyfile: Missing, PathJWKS: Missing, "audit/": Missing, PathS3Keys: Unused, PathVersityGW: Unused, PathCompose: Changed,
	} {
		if got := status(t, plan, path).Status; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if after := plan.after(d); len(after.Files[PathS3Keys].Data) == 0 {
		t.Error("the credentials of the store that is left are gone")
	}
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "images do not move") {
		t.Errorf("no word about images: %q", plan.Notes)
	}
}

func TestRerunBoundsBackups(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	d := generated(t, a)
	for i := range 9 {
		d.edit(t, PathCaddyfile, "protocols h1 h2", "protocols h1")
		in := input(t, d, a, a)
		in.Force, in.Now = true, rerunTime.Add(time.Duration(i/2)*time.Second) // two in a second
		d = planRerun(t, in).after(d)
	}
	if got := len(d.Backups[PathCaddyfile]); got != backupsKept {
		t.Errorf("%d backups, want %d: %q", got, backupsKept, d.Backups[PathCaddyfile])
	}
}

// TestRerunApply writes a plan to a disk, where a file that changed meanwhile stops it.
func TestRerunApply(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	b := a
	b.Expiration = 1800
	dir := t.TempDir()
	for path, f := range generated(t, a).Files {
		p := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.Data, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ReadDisk(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	plan := planRerun(t, input(t, d, a, b))
	auth := filepath.Join(dir, filepath.FromSlash(PathAuth))
	theirs := append(slices.Clone(d.Files[PathAuth].Data), "# somebody was faster\n"...)
	if err := os.WriteFile(auth, theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), safefile.FS{}, dir, safefile.LockOptions{}); !errors.Is(err, safefile.ErrChanged) {
		t.Fatalf("error %v, want ErrChanged", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, PathAnswers)); string(got) != string(d.Files[PathAnswers].Data) {
		t.Error("half of the plan was written")
	}
	if d, err = ReadDisk(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	plan = planRerun(t, input(t, d, a, b))
	if err := plan.Apply(t.Context(), safefile.FS{}, dir, safefile.LockOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(auth)
	if err != nil || !strings.Contains(string(got), "expiration: 1800") || !strings.Contains(string(got), "somebody was faster") {
		t.Errorf("auth config (%v):\n%s", err, got)
	}
	if st, err := os.Stat(filepath.Join(dir, "data", "registry")); err != nil || !st.IsDir() {
		t.Errorf("a folder of the plan is not there: %v", err)
	}
}

func TestReadDisk(t *testing.T) {
	t.Parallel()
	d, err := ReadDisk(fstest.MapFS{
		PathEnv: {Data: []byte("A=1\n"), Mode: 0o600},
		PathEnv + ".regctl-setup-backup-20260102T030405Z": {Data: []byte("A=0\n")},
		PathEnv + ".regctl-setup-backup-yesterday":        {Data: []byte("A=0\n")},
		"conf/mine": {Data: []byte("x")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Files) != 1 || d.Files[PathEnv].Mode != fs.FileMode(0o600) || len(d.Backups[PathEnv]) != 1 {
		t.Errorf("read %v, backups %v", d.Files, d.Backups)
	}
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	files, err := Plan(a, testMaterial(t, a))
	if err != nil {
		t.Fatal(err)
	}
	want := NewRecord(a, files)
	got, err := ParseRecord(want.File().Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for _, path := range []string{PathAuth, PathKey, PathCert} {
		if _, ok := got.Files[path]; ok {
			t.Errorf("the record holds a sum of %s", path)
		}
	}
	for _, bad := range []string{"", "{", `{"version": 2, "files": {}}`, `{"version": 1}`} {
		if _, err := ParseRecord([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a record", bad)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, base, disk, next, want, conflicts string }{
		{"untouched lines follow", "A=1\nB=2\n", "# mine\nA=1\nB=3\nX=y\n", "A=9\nB=2\n", "# mine\nA=9\nB=3\nX=y\n", ""},
		{"both changed", "A=1\n", "A=2\n", "A=3\n", "A=2\n", "A"},
		{"both the same", "A=1\n", "A=2", "A=2\n", "A=2\n", ""},
		{"a new variable", "A=1\nB=2\n", "A=1\nB=7\n", "A=1\nC=3\nB=2\n", "A=1\nC=3\nB=7\n", ""},
		{"a new variable that is there", "A=1\n", "A=1\nC=4\n", "A=1\nC=3\n", "A=1\nC=4\n", "C"},
		{"a variable that goes", "A=1\nB=2\n", "A=5\nB=2\n", "A=1\n", "A=5\n", ""},
		{"a variable that would go stays changed", "A=1\nB=2\n", "A=1\nB=5\n", "A=1\n", "A=1\nB=5\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, conflicts := mergeEnv([]byte(tt.base), []byte(tt.disk), []byte(tt.next))
			if string(got) != tt.want || strings.Join(conflicts, " ") != tt.conflicts {
				t.Errorf("merged %q with conflicts %q, want %q, %q", got, conflicts, tt.want, tt.conflicts)
			}
		})
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	const private = "hunter2hunter2"
	for _, tt := range []struct{ in, want string }{
		{"  secret: '" + private + "'", "  secret: ***"},
		{"+    password: '" + testHash + "'", "+    password: ***"},
		{"x: !" + testHash + " # c", "x: *** # c"},
		{"credentials: {type: client_secret, secret: '" + private + "', tenantid: 'x'}", "credentials: {type: client_secret, secret: ***, tenantid: 'x'}"},
		{"aws_secret_access_key = " + private, "aws_secret_access_key = ***"},
		{`"client_secret": "` + private + `",`, `"client_secret": ***,`},
		{"-----BEGIN PRIVATE KEY-----\n" + private + "\n-----END PRIVATE KEY-----\nend", "***\nend"},
		{"Authorization: ['Bearer " + private + "']", "Authorization: ['Bearer ***']"},
		{"key: conf/keys/server.key", "key: conf/keys/server.key"},
		{"token:\n  issuer: x", "token:\n  issuer: x"},
		{"secrets: [s3_credentials]", "secrets: [s3_credentials]"},
	} {
		if got := Mask(tt.in); got != tt.want {
			t.Errorf("Mask(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	diff := UnifiedDiff("", "b", nil, []byte("secret: "+private+"\n"))
	if strings.Contains(diff, private) || !strings.Contains(diff, "--- /dev/null") {
		t.Errorf("difference:\n%s", diff)
	}
	if a := UnifiedDiff("a", "a", []byte("secret: one-secret\n"), []byte("secret: two-secret\n")); strings.Count(a, "secret: ***") != 2 {
		t.Errorf("a changed secret does not show as a change:\n%s", a)
	}
}

func TestS3Keys(t *testing.T) {
	t.Parallel()
	id, key, err := S3Keys(S3Credentials(secret.New("ID"), secret.New("KEY")))
	if err != nil || id.Reveal() != "ID" || key.Reveal() != "KEY" {
		t.Errorf("keys %v, %v, %v", id, key, err)
	}
}

// TestKnown has a second run read every file that a first one writes: what it does not read it
// would take for missing, and could not write.
func TestKnown(t *testing.T) {
	t.Parallel()
	eachProfile(t, func(t *testing.T, _ answers.Answers, files []safefile.File) {
		for _, f := range files {
			if !slices.Contains(Known(), f.Path) {
				t.Errorf("%s is written and not read again", f.Path)
			}
		}
	})
}
