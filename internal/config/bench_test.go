package config

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// big returns a file of n users and n entries, in the style that init writes, of about 250 bytes for
// each pair.
func big(n int) []byte {
	var b bytes.Buffer
	b.WriteString("server:\n  addr: \":5001\"\ntoken:\n  issuer: \"Acme\"\n  expiration: 900\n  certificate: \"c.pem\"\n  key: \"c.key\"\n\nusers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  \"u%d\":\n    password: \"%s\"\n    labels:\n      team: [\"t%d\"]\n", i, testHash, i%100)
	}
	b.WriteString("\nacl:\n")
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, "  - match: {account: \"u%d\", name: \"proj%d/*\"}\n", i, i)
		case 1:
			fmt.Fprintf(&b, "  - match: {account: \"/^u%d$/\", name: \"/^proj%d/.+$/\"}\n", i, i)
		case 2:
			fmt.Fprintf(&b, "  - match: {labels: {team: \"t%d\"}, name: \"team-${labels:team}/p%d/*\"}\n", i%100, i)
		}
		b.WriteString("    actions: [\"pull\", \"push\"]\n")
	}
	return b.Bytes()
}

// nodes is the measure of the benchmarks: the library's parse of the text to nodes.
func nodes(tb testing.TB, data []byte) {
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkNodes10k(b *testing.B) {
	data := big(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		nodes(b, data)
	}
}

func BenchmarkParse10k(b *testing.B) {
	data := big(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		mustParse(b, data)
	}
}

func BenchmarkView10k(b *testing.B) {
	f := mustParse(b, big(10_000))
	b.ReportAllocs()
	for b.Loop() {
		view("f.yml", f.doc)
	}
}

func BenchmarkAddUser10k(b *testing.B) {
	data := big(10_000)
	user := NewUser{Name: "new", Hash: secret.New(testHash), Labels: []Label{{"team", []string{"a"}}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mustParse(b, data).AddUser(user); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup10k(b *testing.B) {
	f := mustParse(b, big(10_000))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := f.User("u9999"); !ok {
			b.Fatal("not found")
		}
	}
}

// TestSpeed holds parsing and editing of 10,000 users and 10,000 entries to their multiples of the
// library's node parse in the same run. The least of several interleaved runs counts, since the
// machine's noise only adds; the limits have slack of a third for it.
func TestSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	data := big(10_000)
	user := NewUser{Name: "new", Hash: secret.New(testHash), Labels: []Label{{"team", []string{"a"}}}}
	f := mustParse(t, data)
	steps := []func(){
		func() { nodes(t, data) },
		func() { mustParse(t, data) },
		func() {
			if _, err := mustParse(t, data).AddUser(user); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			if _, err := acl.Compile(f.ACL, acl.Options{}); err != nil {
				t.Fatal(err)
			}
		},
	}
	least := make([]time.Duration, len(steps))
	measure := func() (parse, add float64) {
		for i, step := range steps {
			runtime.GC()
			start := time.Now()
			step()
			if took := time.Since(start); least[i] == 0 || took < least[i] {
				least[i] = took
			}
		}
		unit := float64(least[0])
		return float64(least[1]-least[3]) / unit, float64(least[2]) / unit
	}
	const slack = 4.0 / 3
	var parse, add float64
	for range 15 {
		parse, add = measure()
		if parse <= 1.5 && add <= 3 && least[0] > 0 {
			break
		}
	}
	t.Logf("%d bytes: nodes %v, parse %v, compiling the rules %v, parse and add a user %v", len(data), least[0], least[1], least[3], least[2])
	t.Logf("in node parses: parse without compiling %.2f, add a user %.2f", parse, add)
	if parse > 1.5*slack {
		t.Errorf("parsing without compiling takes %.2f node parses, want 1.5", parse)
	}
	if add > 3*slack {
		t.Errorf("adding a user takes %.2f node parses, want 3", add)
	}
}
