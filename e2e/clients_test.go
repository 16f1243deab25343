//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var updateClients = flag.Bool("update-clients", false, "rewrite the tables of docs/clients.md")

// client is a program that people use with a registry.
type client struct {
	name    string
	parts   []string                                   // programs that must be there
	version func(t *testing.T) string                  // what the table calls it
	prepare func(t *testing.T, stacks []*stack) opener // starts what it needs
	// noLogin is set where the client has no login of its own; session.login then sets
	// the credentials in the way that people use instead.
	noLogin bool
	// ownSource is set where the client reads nothing but what it pushed itself.
	ownSource bool
	// fails are capabilities that are known not to work here, and how the table says so.
	fails map[string]string
}

// opener returns a session of a client that nobody is logged in to.
type opener func(t *testing.T, s *stack) session

// session are the commands of one user of a client. A nil function is a command that the
// client does not have. References are host/repository:tag.
type session struct {
	login  func(account) result
	push   func(i clientImage, ref string) result
	index  func(i clientImage, ref string) result // two platforms under one tag
	pull   func(ref string) result
	delete func(ref string) result // by digest
	mount  func(from, to string) result
}

// clients are in the order of clientNames.
func clients() []client {
	version := func(pattern string, argv ...string) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			r := execute(t, "", environ(t.TempDir()), append([]string{part(t, argv[0])}, argv[1:]...)...)
			m := regexp.MustCompile(pattern).FindStringSubmatch(r.stdout + r.stderr)
			if m == nil {
				t.Fatalf("%q: no version: %v", argv, r)
			}
			return m[1]
		}
	}
	const number = `v?(\d+\.\d+[0-9A-Za-z.+~-]*)`
	docker := func(t *testing.T) string {
		return "CLI " + version(number, "docker", "--version")(t) + ", engine " + version(number, "dockerd", "--version")(t)
	}
	return []client{
		{name: "docker", parts: []string{"docker", "dockerd", "docker-compose"}, version: docker, prepare: dockerClient,
			fails: map[string]string{"multi-arch push": "no: `docker manifest` speaks plain HTTP to localhost, where these tests run"}},
		{name: "containerd", parts: []string{"containerd", "ctr"}, version: version(number, "containerd", "--version"), prepare: ctrClient, noLogin: true},
		{name: "buildctl", parts: []string{"buildctl", "buildkitd", "runc"}, version: toolVersion("buildctl"), prepare: buildctlClient, noLogin: true},
		{name: "buildx", parts: []string{"buildx", "buildctl", "buildkitd", "runc"}, version: toolVersion("buildx"), prepare: buildxClient, noLogin: true},
		{name: "podman", parts: []string{"podman"}, version: version(number, "podman", "--version"), prepare: podmanClient},
		{name: "buildah", parts: []string{"buildah"}, version: version(number, "buildah", "--version"), prepare: buildahClient},
		{name: "skopeo", parts: []string{"skopeo"}, version: version(number, "skopeo", "--version"), prepare: skopeoClient},
		{name: "crane", parts: []string{"crane"}, version: toolVersion("crane"), prepare: craneClient},
		{name: "regctl", parts: []string{"regctl"}, version: toolVersion("regctl"), prepare: regctlClient},
		{name: "oras", parts: []string{"oras"}, version: toolVersion("oras"), prepare: orasClient},
		{name: "helm", parts: []string{"helm"}, version: toolVersion("helm"), prepare: helmClient, ownSource: true},
	}
}

// toolVersion is the version of the module that a program of tools/*/go.mod was built from.
func toolVersion(program string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		info, err := buildinfo.ReadFile(part(t, program))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(info.Main.Version, "v")
	}
}

// clientImage is an image for two platforms that no other test has, in every form that a
// client reads.
type clientImage struct {
	layout, archive           string // OCI layout of the image for amd64, tagged latest; the same as a tar
	index, indexArchive       string // OCI layout of the index of both
	amd64, arm64              string // docker tars, of these names:
	amd64Name, arm64Name      string
	context                   string // folder with a Dockerfile
	archiveBase, archiveIndex string // what an import calls what the archives hold
}

func newClientImage(t *testing.T) clientImage {
	t.Helper()
	dir := shortDir(t)
	id := filepath.Base(dir)
	i := clientImage{
		layout: filepath.Join(dir, "layout"), archive: filepath.Join(dir, "layout.tar"),
		index: filepath.Join(dir, "index"), indexArchive: filepath.Join(dir, "index.tar"),
		amd64: filepath.Join(dir, "amd64.tar"), arm64: filepath.Join(dir, "arm64.tar"),
		amd64Name: "example.com/i" + id + ":amd64", arm64Name: "example.com/i" + id + ":arm64",
		archiveBase: "example.com/one" + id, archiveIndex: "example.com/two" + id,
		context: filepath.Join(dir, "context"),
	}
	tagged := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"})
	one, err := layout.Write(i.layout, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, of := range []struct{ arch, file, name string }{{"amd64", i.amd64, i.amd64Name}, {"arm64", i.arm64, i.arm64Name}} {
		layer, err := random.Layer(64<<10, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", of.arch
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(of.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tarball.WriteToFile(of.file, tag, img); err != nil {
			t.Fatal(err)
		}
		if of.arch == "amd64" {
			if err := one.AppendImage(img, tagged); err != nil {
				t.Fatal(err)
			}
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: of.arch}}})
	}
	two, err := layout.Write(i.index, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := two.AppendIndex(index, tagged); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{i.layout: i.archive, i.index: i.indexArchive} {
		f, err := os.Create(to)
		if err != nil {
			t.Fatal(err)
		}
		w := tar.NewWriter(f)
		if err := errors.Join(w.AddFS(os.DirFS(from)), w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	mustMkdir(t, i.context)
	mustWrite(t, filepath.Join(i.context, "Dockerfile"), []byte("FROM scratch\nCOPY data /data\n"), 0o644)
	mustWrite(t, filepath.Join(i.context, "data"), []byte(id), 0o644)
	return i
}

// trial is what a client did: the text of each cell, by registry.
type trial struct {
	version       string
	skipped       string                    // why it was not tried
	cells         map[string]map[int]string // by capability
	denied, wrong string
}

// TestClients has every client log in, push, pull, delete and mount through Caddy, with both
// registries, and holds the results against docs/clients.md; -update-clients writes them there.
func TestClients(t *testing.T) {
	if os.Getenv("REGCTL_SETUP_E2E_CLIENTS") != "1" {
		t.Skip("REGCTL_SETUP_E2E_CLIENTS=1 (make e2e-clients) tries all clients")
	}
	stacks := []*stack{newStack(t, "registry", asServe), newStack(t, "docker-registry", asServe)}
	// An account for each client to fail with: after some failures the answer is that, not
	// that the password is wrong.
	for _, s := range stacks {
		for _, c := range clients() {
			s.addUser(t, "wrong-"+c.name)
		}
		s.restartAuth()
	}
	trials := map[string]*trial{}
	var names []string
	for _, c := range clients() {
		names = append(names, c.name)
		tr := &trial{cells: map[string]map[int]string{}}
		trials[c.name] = tr
		t.Run(c.name, func(t *testing.T) { c.try(t, stacks, tr) })
	}
	if want := clientNames(); !slices.Equal(names, want) {
		t.Fatalf("tried %q, want %q", names, want)
	}
	recordTrials(t, trials)
}

// try makes the trial of one client with all registries.
func (c client) try(t *testing.T, stacks []*stack, tr *trial) {
	for _, p := range c.parts {
		if _, err := findPart(p); err != nil {
			tr.skipped = err.Error()
			missing(t, "not tried: %v", err)
		}
	}
	tr.version = c.version(t)
	open := c.prepare(t, stacks)
	for _, s := range stacks {
		t.Run(fmt.Sprintf("registry %d", s.registry), func(t *testing.T) { c.tryOn(t, s, open, tr) })
	}
}

// tryOn makes the trial of one client with one registry.
func (c client) tryOn(t *testing.T, s *stack, open opener, tr *trial) {
	const tag = ":1.0.0" // the one form that helm takes
	mine, library := "dev-backend/"+c.name, "library/"+c.name
	run := func(capability string, has bool, f func(t *testing.T) string) {
		if tr.cells[capability] == nil {
			tr.cells[capability] = map[int]string{}
		}
		if !has {
			tr.cells[capability][s.registry] = "–"
			return
		}
		t.Run(capability, func(t *testing.T) {
			tr.cells[capability][s.registry] = cmp.Or(c.fails[capability], "no: failed")
			tr.cells[capability][s.registry] = cmp.Or(f(t), "yes")
		})
	}
	must := func(t *testing.T, what string, r result) {
		t.Helper()
		if r.status != 0 {
			t.Fatalf("%s: %v", what, r)
		}
	}

	dev := open(t, s)
	if c.noLogin {
		must(t, "credentials", dev.login(s.developer))
	}
	run("login", !c.noLogin, func(t *testing.T) string { must(t, "login", dev.login(s.developer)); return "" })
	var digest string // of what was pushed
	run("push", true, func(t *testing.T) string {
		must(t, "push", dev.push(newClientImage(t), s.ref(mine+tag)))
		digest = s.manifest(t, mine+tag).digest
		return ""
	})
	admin := open(t, s)
	must(t, "login of the administrator", admin.login(s.admin))
	run("pull", true, func(t *testing.T) string {
		if c.ownSource {
			must(t, "push by the administrator", admin.push(newClientImage(t), s.ref(library+tag)))
		} else {
			must(t, "push by crane", s.crane(t, s.admin, "push", newClientImage(t).index, s.ref(library+tag)))
		}
		must(t, "pull", dev.pull(s.ref(library+tag)))
		if !s.served(http.MethodGet, "/v2/"+library+"/blobs/", http.StatusOK, http.StatusPartialContent, http.StatusTemporaryRedirect) {
			t.Errorf("no layer of %s was read", library)
		}
		return ""
	})
	run("multi-arch push", dev.index != nil, func(t *testing.T) string {
		r := dev.index(newClientImage(t), s.ref(mine+"-multi"+tag))
		if known := c.fails["multi-arch push"]; known != "" {
			if r.status == 0 {
				t.Errorf("the push of an index works; remove %q", known)
			}
			return known
		}
		must(t, "push of an index", r)
		var found []string
		for _, m := range s.manifest(t, mine+"-multi"+tag).Manifests {
			found = append(found, m.Platform.OS+"/"+m.Platform.Architecture)
		}
		for _, want := range []string{"linux/amd64", "linux/arm64"} {
			if !slices.Contains(found, want) {
				t.Errorf("the index has the platforms %q, want %s too", found, want)
			}
		}
		return ""
	})
	run("delete", admin.delete != nil, func(t *testing.T) string {
		if digest == "" {
			t.Skip("not tried: nothing was pushed")
		}
		must(t, "delete", admin.delete(s.ref(mine+"@"+digest)))
		if got := s.head(t, mine+"@"+digest); got != http.StatusNotFound {
			t.Errorf("after the deletion: status %d, want 404", got)
		}
		return ""
	})
	run("mount", dev.mount != nil, func(t *testing.T) string {
		must(t, "push by crane", s.crane(t, s.admin, "push", newClientImage(t).layout, s.ref(library+"-base"+tag)))
		must(t, "copy", dev.mount(s.ref(library+"-base"+tag), s.ref(mine+"-mounted"+tag)))
		s.manifest(t, mine+"-mounted"+tag)
		if !s.served(http.MethodPost, "/v2/"+mine+"-mounted/blobs/uploads/?", http.StatusCreated) {
			return "no: uploads the layer again"
		}
		return ""
	})
	t.Run("push without the right", func(t *testing.T) {
		viewer := open(t, s)
		must(t, "login of the viewer", viewer.login(s.viewer))
		r := viewer.push(newClientImage(t), s.ref(mine+"-denied"+tag))
		if r.status == 0 {
			t.Errorf("allowed, want refused: %v", r)
		}
		if got := s.head(t, mine+"-denied"+tag); got != http.StatusNotFound {
			t.Errorf("the refused push: status %d, want 404", got)
		}
		tr.denied = cmp.Or(tr.denied, s.said(t, r))
	})
	t.Run("wrong password", func(t *testing.T) {
		wrong := open(t, s)
		r := wrong.login(account{Name: "wrong-" + c.name, Password: s.viewer.Password})
		if r.status == 0 { // it only writes the password down
			r = wrong.push(newClientImage(t), s.ref(mine+"-denied"+tag))
		}
		if r.status == 0 {
			t.Errorf("allowed, want refused: %v", r)
		}
		tr.wrong = cmp.Or(tr.wrong, s.said(t, r))
	})
}

// pushed is a manifest or an index as the registry has it.
type pushed struct {
	digest    string
	Manifests []struct {
		Platform struct{ OS, Architecture string }
	}
}

// splitRef returns the repository and the tag or digest.
func splitRef(ref string) (repo, reference string) {
	if repo, digest, ok := strings.Cut(ref, "@"); ok {
		return repo, digest
	}
	repo, tag, _ := strings.Cut(ref, ":")
	return repo, tag
}

const manifestTypes = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
	"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

// manifest requires that the registry has it.
func (s *stack) manifest(t *testing.T, ref string) pushed {
	t.Helper()
	repo, reference := splitRef(ref)
	got := s.do(t, http.MethodGet, "/v2/"+repo+"/manifests/"+reference, s.token(t, s.admin, "repository:"+repo+":pull"), nil, "Accept", manifestTypes)
	if got.status != http.StatusOK {
		t.Fatalf("%s was pushed, and is not there: status %d: %s", ref, got.status, got.body)
	}
	m := decode[pushed](t, got.body)
	m.digest = got.header.Get("Docker-Content-Digest")
	return m
}

// head is the status of a manifest for the administrator.
func (s *stack) head(t *testing.T, ref string) int {
	t.Helper()
	repo, reference := splitRef(ref)
	return s.do(t, http.MethodHead, "/v2/"+repo+"/manifests/"+reference, s.token(t, s.admin, "repository:"+repo+":pull"), nil, "Accept", manifestTypes).status
}

// served tells whether Caddy's log has a request for a path that begins so, answered with one
// of the statuses. Caddy writes a line after its answer: one more request is made, and its
// line waited for.
func (s *stack) served(method, prefix string, status ...int) bool {
	s.marks++
	mark := fmt.Sprintf("/v2/?mark=%d", s.marks)
	if resp, err := s.http.Get(s.base + mark); err == nil {
		_ = resp.Body.Close()
	}
	deadline := time.After(startDeadline)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		seen, marked := false, false
		for line := range strings.Lines(s.front.out.String()) {
			var entry struct {
				Request struct{ Method, URI string }
				Status  int
			}
			if json.Unmarshal([]byte(line), &entry) != nil {
				continue
			}
			marked = marked || entry.Request.URI == mark
			seen = seen || entry.Request.Method == method && strings.HasPrefix(entry.Request.URI, prefix) && slices.Contains(status, entry.Status)
		}
		if seen {
			return true
		}
		if marked {
			return false
		}
		select {
		case <-deadline:
			return false
		case <-ticker.C:
		}
	}
}

// complaint finds the line of a client's output that says why.
var complaint = regexp.MustCompile(`(?i)denied|unauthorized|authentication required|authorization failed|insufficient|incorrect|invalid username|\b40[13]\b`)

// said is the line with which a client gives its reason, without what differs from run to run.
func (s *stack) said(t *testing.T, r result) string {
	t.Helper()
	var line string
	for l := range strings.Lines(r.stdout + "\n" + r.stderr) {
		if l = strings.TrimSpace(l); complaint.MatchString(l) && !strings.Contains(l, " [auth] ") {
			line = l
		}
	}
	if line == "" {
		t.Errorf("no line tells that rights are wanting: %v", r)
		return ""
	}
	for _, a := range []account{s.admin, s.developer, s.viewer} {
		if strings.Contains(line, a.Password) {
			t.Errorf("the password of %s is in the client's error", a)
			line = strings.ReplaceAll(line, a.Password, "…")
		}
	}
	line = strings.ReplaceAll(line, s.host, "HOST")
	line = regexp.MustCompile(`(sha256:[0-9a-f]{4})[0-9a-f]{60}`).ReplaceAllString(line, "$1…")
	line = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}[^"\s]*`).ReplaceAllString(line, "…")
	line = regexp.MustCompile(`^\S*\d\d:\d\d:\d\d\S* |time="[^"]*" `).ReplaceAllString(line, "")
	line = regexp.MustCompile(`^\d{4}/\d\d/\d\d \S+ `).ReplaceAllString(line, "")
	line = regexp.MustCompile(`/\S*e2e-[^\s:"]*`).ReplaceAllString(line, "PATH")
	line = strings.NewReplacer("|", "¦", "`", "'").Replace(line)
	if runes := []rune(line); len(runes) > 400 {
		line = string(runes[:400]) + "…"
	}
	return line
}

// cell merges what was seen with the two registries.
func (tr *trial) cell(capability string) string {
	if tr.skipped != "" {
		return "not tried: " + tr.skipped
	}
	three, two := tr.cells[capability][3], tr.cells[capability][2]
	if three == two {
		return three
	}
	return "registry 3: " + three + "; registry 2: " + two
}

// recordTrials writes the tables of the document, or holds the capabilities against them.
// Versions and texts differ from machine to machine, and are not compared.
func recordTrials(t *testing.T, trials map[string]*trial) {
	t.Helper()
	data, err := os.ReadFile(clientsDocument)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	table := func(header []string, row func(string, *trial) []string) string {
		var b strings.Builder
		line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
		line(header)
		line(slices.Repeat([]string{"---"}, len(header)))
		for _, name := range clientNames() {
			line(row(name, trials[name]))
		}
		return b.String()
	}
	results := table(append([]string{"client", "version"}, capabilities()...), func(name string, tr *trial) []string {
		row := []string{name, cmp.Or(tr.version, "–")}
		for _, c := range capabilities() {
			row = append(row, tr.cell(c))
		}
		return row
	})
	quoted := func(text string) string {
		if text == "" {
			return "not tried"
		}
		return "`" + text + "`"
	}
	refusals := table([]string{"client", "push without the right", "wrong password"}, func(name string, tr *trial) []string {
		return []string{name, quoted(tr.denied), quoted(tr.wrong)}
	})
	t.Logf("results:\n%s%s", results, refusals)
	if *updateClients {
		for name, table := range map[string]string{"results": results, "refusals": refusals} {
			begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->\n"
			from, to := strings.Index(text, begin), strings.Index(text, end)
			if from < 0 || to < from {
				t.Fatalf("%s has no markers of the table %s", clientsDocument, name)
			}
			text = text[:from+len(begin)] + table + text[to:]
		}
		mustWrite(t, clientsDocument, []byte(text), 0o644)
		return
	}
	for _, row := range clientTable(t, text, "results")[1:] {
		tr := trials[row[0]]
		if tr == nil || tr.skipped != "" || len(row) != 2+len(capabilities()) {
			continue // TestClientsDocumented says what is wrong with the row
		}
		for i, c := range capabilities() {
			if got := tr.cell(c); got != row[2+i] && got != "" {
				t.Errorf("%s, %s: %q; %s says %q (-update-clients rewrites it)", row[0], c, got, clientsDocument, row[2+i])
			}
		}
	}
}
