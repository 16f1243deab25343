package authload_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

// recorded is one line of the answers recorded from docker_auth.
type recorded struct {
	ID       string
	Config   string
	Requests []struct {
		Method, Path   string
		Query, Form    [][2]string
		User, Password *string
		IP             *string
		Expect         struct {
			Status    int
			Challenge string
			Sub, Aud  string
			Lifetime  int64
			Access    []recordedAccess
		}
	}
}

type recordedAccess struct {
	Type, Name string
	Actions    []string
}

// acceptedDifferences are the recorded answers that we give differently on purpose:
// "config id/request number" and the reason. There are none.
var acceptedDifferences = map[string]string{}

// TestCompat asks what docker_auth was asked, and expects its answers.
func TestCompat(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../testdata/compat/token-server.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	asked := 0
	for lines.Scan() {
		var rec recorded
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		asked += len(rec.Requests)
		t.Run(rec.ID, func(t *testing.T) {
			t.Parallel()
			rec.replay(t)
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if asked < 2443 {
		t.Errorf("%d recorded requests, there were 2443", asked)
	}
}

func (rec *recorded) replay(t *testing.T) {
	srv := newServer(t, newFolder(t, rec.Config).options(), nil)
	for i, q := range rec.Requests {
		key := fmt.Sprintf("%s/%d", rec.ID, i)
		c := call{method: q.Method, path: q.Path, header: http.Header{}, peer: "127.0.0.1:4711"} // a proxy
		if c.path == "" {
			c.path = "/auth"
		}
		if len(q.Query) > 0 {
			c.path += "?" + encode(q.Query)
		}
		c.body = encode(q.Form)
		if q.IP != nil {
			c.header.Set("X-Forwarded-For", *q.IP)
		}
		if q.User != nil {
			c.user = basic(*q.User, *q.Password)
		}
		w := do(t, srv, c)
		var diff []string
		differ := func(what string, got, want any) {
			if fmt.Sprint(got) != fmt.Sprint(want) {
				diff = append(diff, fmt.Sprintf("%s: got %v, want %v", what, got, want))
			}
		}
		differ("status", w.Code, q.Expect.Status)
		if q.Expect.Challenge != "" {
			scheme, _, _ := strings.Cut(w.Header().Get("WWW-Authenticate"), " ")
			differ("challenge", scheme, q.Expect.Challenge)
		}
		if w.Code == http.StatusOK && q.Expect.Status == http.StatusOK && q.Expect.Lifetime > 0 {
			got, _ := tokenOf(t, w.Body.Bytes())
			differ("sub", got.Sub, q.Expect.Sub)
			differ("aud", got.Aud, q.Expect.Aud)
			differ("lifetime", got.Exp-got.Iat, q.Expect.Lifetime)
			access := make([]recordedAccess, 0, len(got.Access))
			for _, a := range got.Access {
				access = append(access, recordedAccess(a))
			}
			differ("access", sets(access), sets(q.Expect.Access))
		}
		if w.Code >= 400 && (!json.Valid(w.Body.Bytes()) || bytes.Contains(w.Body.Bytes(), []byte("<"))) {
			diff = append(diff, fmt.Sprintf("an error that is no JSON: %q", w.Body))
		}
		reason, accepted := acceptedDifferences[key]
		switch {
		case len(diff) > 0 && !accepted:
			t.Errorf("%s: %s %s user %v: %s\nanswer: %s", key, q.Method, c.path, q.User, strings.Join(diff, "; "), w.Body)
		case len(diff) == 0 && accepted:
			t.Errorf("%s is in the list of differences (%s) and does not differ", key, reason)
		}
	}
}

func encode(pairs [][2]string) string {
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p[0]) + "=" + url.QueryEscape(p[1]))
	}
	return b.String()
}

// sets joins the actions by resource, leaving the empty one out.
func sets(list []recordedAccess) []string {
	m := map[string]map[string]bool{}
	for _, a := range list {
		key := a.Type + " " + a.Name
		if m[key] == nil {
			m[key] = map[string]bool{}
		}
		for _, action := range a.Actions {
			if action != "" {
				m[key][action] = true
			}
		}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, key+" "+strings.Join(slices.Sorted(maps.Keys(m[key])), ","))
	}
	return out
}
