//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestServeStartsWithManyUsers: 10,000 users and 10,000 entries are served within a
// second of the start. The best of three counts: the machine may be busy.
func TestServeStartsWithManyUsers(t *testing.T) {
	s := initDeployment(t, "--domain", "localhost")
	config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`'\$2[aby]\$[^']+'`).FindString(string(data))
	if hash == "" {
		t.Fatal("the generated config holds no hash")
	}
	const n = 10_000
	var users, rules strings.Builder
	for i := range n {
		fmt.Fprintf(&users, "  u%d:\n    password: %s\n    labels:\n      team: [t%d]\n", i, hash, i%100)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&rules, "  - match: {account: u%d, name: 'proj%d/*'}\n    actions: [pull, push]\n", i, i)
		case 1:
			fmt.Fprintf(&rules, "  - match: {account: '/^u%d$/', name: '/^proj%d/.+$/'}\n    actions: [pull, push]\n", i, i)
		case 2:
			fmt.Fprintf(&rules, "  - match: {labels: {team: t%d}, name: 'team-${labels:team}/p%d/*'}\n    actions: [pull, push]\n", i%100, i)
		}
	}
	text := strings.Replace(string(data), "\nusers:\n", "\nusers:\n"+users.String(), 1)
	text = strings.Replace(text, "\nacl:\n", "\nacl:\n"+rules.String(), 1)
	mustWrite(t, config, []byte(text), 0o600)

	client := httpClient(t, "")
	best := time.Hour
	for range 3 {
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		mustWrite(t, config, []byte(strings.Replace(text, "addr: ':5001'", "addr: '"+addr+"'", 1)), 0o600)
		began := time.Now()
		p := start(t, "serve", environ(t.TempDir()), program, "serve", config)
		p.ready(t, client, "http://"+addr+"/", http.StatusOK)
		best = min(best, time.Since(began))
		if status := p.terminate(t); status != 0 {
			t.Errorf("serve ended with %d on SIGTERM, want 0", status)
		}
	}
	t.Logf("serve answers %s after its start with %d users and entries", best, n)
	if best > time.Second {
		t.Errorf("serve answers after %s at best, want at most 1 s", best)
	}
}
