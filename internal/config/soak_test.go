package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// mutator makes new texts out of old ones, the same ones for the same seed.
type mutator struct {
	*rand.Rand
	seeds [][]byte
	words []string
}

// next is one of the seeds with one to three changes.
func (m *mutator) next() []byte {
	text := bytes.Clone(m.seeds[m.IntN(len(m.seeds))])
	for range 1 + m.IntN(3) {
		text = m.change(text)
	}
	return text
}

func (m *mutator) change(text []byte) []byte {
	if len(text) == 0 {
		return []byte(m.words[m.IntN(len(m.words))])
	}
	from := m.IntN(len(text))
	to := min(len(text), from+1+m.IntN(40))
	switch m.IntN(8) {
	case 0: // cut off
		return text[:from]
	case 1: // leave out
		return slices.Delete(text, from, to)
	case 2: // repeat elsewhere
		return slices.Insert(text, m.IntN(len(text)), slices.Clone(text[from:to])...)
	case 3: // a word of the format
		return slices.Insert(text, from, []byte(m.words[m.IntN(len(m.words))])...)
	case 4: // another byte
		text[from] = byte(m.IntN(256))
		return text
	case 5: // part of another text
		other := m.seeds[m.IntN(len(m.seeds))]
		at := m.IntN(len(other))
		return slices.Insert(text, from, other[at:min(len(other), at+m.IntN(80))]...)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	i, j := m.IntN(len(lines)), m.IntN(len(lines))
	if m.IntN(2) == 0 { // two lines change places
		lines[i], lines[j] = lines[j], lines[i]
	} else { // a line goes
		lines = slices.Delete(lines, i, i+1)
	}
	return bytes.Join(lines, nil)
}

// recorded returns the configs of the recorded answers, each once.
func recorded(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "compat", "token-server.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines(data) {
		var row struct{ Config string }
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		if len(row.Config) < 8<<10 {
			seen[strings.NewReplacer("@ADDR@", "127.0.0.1:5001", "@KEY@", "k.pem", "@CERT@", "c.pem").Replace(row.Config)] = true
		}
	}
	var list [][]byte
	for _, text := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, []byte(text))
	}
	return list
}

// TestB2MutatedConfigs: a million mutated configs, and nothing panics, no fault stays without a
// place, and what passes has a password for each named user and rules that can be asked.
func TestB2MutatedConfigs(t *testing.T) {
	t.Parallel()
	count := 8000
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		count = 1_000_000
	}
	seeds := recorded(t)
	texts := corpus()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if len(texts[name]) < 8<<10 {
			seeds = append(seeds, []byte(texts[name]))
		}
	}
	words := []string{
		"- ", "\n", "  ", "\t", ": ", "[", "]", "{", "}", "null", "~", `""`, "''", "<<: *", "&a ", "*a", "!!binary ", "!", "|-\n", "---\n", "#", "%", "\x00", "\ufeff", "é", "\xff",
		"match:", "actions:", "account:", "name:", "labels:", "users:", "acl:", "password:", "ip:", "x-regctl-setup:", "limits:", "ext_auth:", "command:",
		"/(/", "/^", "$/", "${labels:team}", "${account}", "${account:1}", "[a-", "*", "?", "\\", "10.0.0.0/8", "::/0", "9e999", "-1", "0x7fffffffffffffff", "yes", testHash,
	}
	workers := runtime.GOMAXPROCS(0)
	var passed, refused atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			m := &mutator{rand.New(rand.NewPCG(uint64(w), 20260304)), seeds, words}
			for i := w; i < count && !t.Failed(); i += workers {
				text := m.next()
				switch good, err := checkMutated(text); {
				case err != nil:
					t.Errorf("config %d of worker %d of %d: %v\n%q", i, w, workers, err, text)
				case good:
					passed.Add(1)
				default:
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d mutated configs: %d pass, %d are refused, 0 panics", passed.Load()+refused.Load(), passed.Load(), refused.Load())
	if n := int64(count); passed.Load() < n/100 || refused.Load() < n/100 {
		t.Errorf("%d pass and %d are refused: the mutations have become one-sided", passed.Load(), refused.Load())
	}
}

// checkMutated says whether text passes, and what is wrong with how it is taken.
func checkMutated(text []byte) (good bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			good, err = false, fmt.Errorf("panic: %v", p)
		}
	}()
	f, problems := Parse("f.yml", text)
	for _, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Msg == "" || p.Code == "" {
			return false, fmt.Errorf("a problem without a place or a text: %d:%d %q %q", p.Line, p.Column, p.Code, p.Msg)
		}
	}
	if len(problems) > 0 {
		return false, nil
	}
	if f == nil {
		return false, fmt.Errorf("neither a file nor a problem")
	}
	for _, u := range f.Users {
		if u.Name != "" && !u.HasPassword && !f.Extras.AllowPasswordless {
			return false, fmt.Errorf("user %q without a password passes", u.Name)
		}
	}
	policy, err := f.Policy()
	if err != nil {
		return false, fmt.Errorf("no problem, but no policy: %w", err)
	}
	asked := []string{"pull", "push"}
	accounts := append([]User{{Name: "nobody"}}, f.Users...)
	for _, u := range accounts[:min(len(accounts), 8)] {
		for _, name := range []string{"a/b", "team-a/x", "../[*", ""} {
			r := acl.Request{Account: u.Name, Type: "repository", Name: name, Service: "reg", Labels: u.LabelMap(), Actions: asked}
			d := policy.Decide(&r, nil)
			if explained, _ := policy.Explain(&r); explained.Index != d.Index || !slices.Equal(explained.Granted, d.Granted) {
				return false, fmt.Errorf("%q %q: decided %+v, explained %+v", u.Name, name, d, explained)
			}
			for _, g := range d.Granted {
				if !slices.Contains(asked, g) {
					return false, fmt.Errorf("%q was granted and not asked", g)
				}
			}
			if d.Index < 0 && len(d.Granted) > 0 || d.Err != nil && len(d.Granted) > 0 {
				return false, fmt.Errorf("granted by no entry: %+v", d)
			}
		}
	}
	return true, nil
}
