package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// kept is an Appender that keeps records.
type kept struct {
	records []*Record
	err     error
}

func (k *kept) Append(_ context.Context, records ...*Record) error {
	if k.err == nil {
		k.records = append(k.records, records...)
	}
	return k.err
}

const notification = `{"events":[{"id":"ID","timestamp":"2026-11-23T22:14:03.5Z","action":"push","target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aa","size":7,"length":7,"repository":"dev-backend/api","url":"/v2/x","tag":"1.4"},
"request":{"id":"req","addr":"203.0.113.9:4711","host":"registry.example.com","method":"PUT","useragent":"docker/28"},"actor":{"name":"alice"},"source":{"addr":"r:5000","instanceID":"i"}}]}`

const token = "s3cret-of-the-listener"

func report(t *testing.T, e *Events, body string, change func(*http.Request)) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/events", strings.NewReader(body))
	r.RemoteAddr = "10.0.0.2:1"
	r.Header.Set("Authorization", "Bearer "+token)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code
}

func newEvents(k *kept, j *Joiner) *Events {
	return NewEvents(EventsOptions{Log: k, Path: "/events", Secret: secret.New(token), Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Joiner: j, Now: func() time.Time { return at.Add(time.Hour) }})
}

func TestEventsAreRecordedOnce(t *testing.T) {
	t.Parallel()
	k, j := &kept{}, NewJoiner()
	j.Add(&Record{Kind: KindToken, Time: at, Authenticated: true, Account: "alice", Address: netip.MustParseAddr("203.0.113.9"), RequestID: "q1", TokenID: "t1", Lifetime: time.Hour,
		Scopes: []Scope{{Type: "repository", Name: "dev-backend/api", Granted: []string{"pull", "push"}}}})
	e := newEvents(k, j)
	for range 3 {
		if got := report(t, e, notification, nil); got != http.StatusOK {
			t.Fatalf("status %d", got)
		}
	}
	if len(k.records) != 1 {
		t.Fatalf("%d records", len(k.records))
	}
	r := k.records[0]
	if r.Account != "alice" || r.Event.Tag != "1.4" || r.Event.Repository != "dev-backend/api" || r.Address.String() != "203.0.113.9" || !r.Time.Equal(at.Truncate(time.Second).Add(500*time.Millisecond)) {
		t.Errorf("record %s", line(r))
	}
	if r.Event.Join != JoinProbable || r.Event.JoinTokenID != "t1" || r.Event.JoinRequestID != "q1" {
		t.Errorf("not joined: %s", line(r))
	}
	if r.Event.Received.IsZero() {
		t.Error("that it came an hour late is not noted")
	}
	// What can't be written is asked for again, and taken then.
	k.err = errors.New("disk full")
	other := strings.Replace(notification, `"ID"`, `"ID2"`, 1)
	if got := report(t, e, other, nil); got != http.StatusServiceUnavailable {
		t.Errorf("status %d while nothing can be written", got)
	}
	k.err = nil
	if got := report(t, e, other, nil); got != http.StatusOK || len(k.records) != 2 {
		t.Errorf("status %d, %d records", got, len(k.records))
	}
}

func TestEventsAreRefused(t *testing.T) {
	t.Parallel()
	many := `{"events":[` + strings.TrimSuffix(strings.Repeat(`{"action":"pull"},`, maxEvents+1), ",") + `]}`
	for name, tt := range map[string]struct {
		body   string
		change func(*http.Request)
		want   int
	}{
		"foreign peer":   {notification, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, 403},
		"no secret":      {notification, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"wrong secret":   {notification, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401},
		"longer secret":  {notification, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+"x") }, 401},
		"other path":     {notification, func(r *http.Request) { r.URL.Path = "/" }, 404},
		"method":         {notification, func(r *http.Request) { r.Method = http.MethodPut }, 405},
		"no JSON":        {"hello", nil, 400},
		"no events":      {`{"events":[]}`, nil, 400},
		"no action":      {`{"events":[{}]}`, nil, 400},
		"too many":       {many, nil, 400},
		"too much":       {`{"events":[{"action":"` + strings.Repeat("x", maxEnvelope) + `"}]}`, nil, 413},
		"wrong type":     {`{"events":[{"action":7}]}`, nil, 400},
		"bad timestamps": {`{"events":[{"action":"pull","timestamp":"never"}]}`, nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &kept{}
			if got := report(t, newEvents(k, nil), tt.body, tt.change); got != tt.want || len(k.records) != 0 {
				t.Errorf("status %d, %d records; want %d, none", got, len(k.records), tt.want)
			}
		})
	}
	noSecret := NewEvents(EventsOptions{Log: &kept{}, Path: "/events", Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if got := report(t, noSecret, notification, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }); got != 401 {
		t.Errorf("a listener without a secret answers %d", got)
	}
}

func TestRecallAfterARestart(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	if got := report(t, NewEvents(EventsOptions{Log: l, Path: "/events", Secret: secret.New(token), Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}), notification, nil); got != 200 {
		t.Fatalf("status %d", got)
	}
	k := &kept{}
	e := newEvents(k, NewJoiner())
	e.Recall(l.Dir())
	if got := report(t, e, notification, nil); got != 200 || len(k.records) != 0 {
		t.Errorf("status %d, recorded again %d times", got, len(k.records))
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr("203.0.113.9")
	grant := func(change func(*Record)) *Record {
		r := &Record{Kind: KindToken, Time: at, Authenticated: true, Account: "alice", Address: addr, TokenID: "t", Lifetime: 5 * time.Minute, Scopes: []Scope{{Type: "repository", Name: "a/b", Granted: []string{"pull", "push"}}}}
		if change != nil {
			change(r)
		}
		return r
	}
	for name, tt := range map[string]struct {
		grant  *Record
		action string
		after  time.Duration
		want   bool
	}{
		"same":            {grant(nil), "push", time.Minute, true},
		"mount is a push": {grant(nil), "mount", time.Minute, true},
		"in the leeway":   {grant(nil), "pull", 5*time.Minute + 50*time.Second, true},
		"token ended":     {grant(nil), "pull", 7 * time.Minute, false},
		"before it":       {grant(nil), "pull", -2 * time.Minute, false},
		"other action":    {grant(nil), "delete", time.Minute, false},
		"other account":   {grant(func(r *Record) { r.Account = "bob" }), "pull", time.Minute, false},
		"other address":   {grant(func(r *Record) { r.Address = netip.MustParseAddr("203.0.113.8") }), "pull", time.Minute, false},
		"mapped address":  {grant(func(r *Record) { r.Address = netip.MustParseAddr("::ffff:203.0.113.9") }), "pull", time.Minute, true},
		"other name":      {grant(func(r *Record) { r.Scopes[0].Name = "a/c" }), "pull", time.Minute, false},
		"other type":      {grant(func(r *Record) { r.Scopes[0].Type = "registry" }), "pull", time.Minute, false},
		"no token":        {grant(func(r *Record) { r.TokenID = "" }), "pull", time.Minute, false},
	} {
		j := NewJoiner()
		j.Add(tt.grant)
		e := &Record{Kind: KindEvent, Time: at.Add(tt.after), Authenticated: true, Account: "alice", Address: addr, Event: &Event{Action: tt.action, Repository: "a/b"}}
		j.Join(e)
		if got := e.Event.Join != ""; got != tt.want {
			t.Errorf("%s: joined %v, want %v", name, got, tt.want)
		}
	}
	// A token that is handed out again counts once, and as the newest from then on.
	again := NewJoiner()
	for i, id := range []string{"t1", "t2", "t1"} {
		again.Add(grant(func(r *Record) {
			r.TokenID, r.RequestID, r.Time = id, fmt.Sprint("q", i), at.Add(time.Duration(i)*time.Second)
		}))
	}
	e := &Record{Kind: KindEvent, Time: at.Add(time.Minute), Authenticated: true, Account: "alice", Address: addr, Event: &Event{Action: "pull", Repository: "a/b"}}
	if again.Join(e); e.Event.JoinTokenID != "t1" || e.Event.JoinRequestID != "q2" || len(again.order) != 2 {
		t.Errorf("joined to %s of %s, %d remembered", e.Event.JoinTokenID, e.Event.JoinRequestID, len(again.order))
	}
	// The memory is bounded, and what is forgotten is the oldest.
	j := NewJoiner()
	for i := range maxGrants + 100 {
		j.Add(grant(func(r *Record) { r.Account, r.TokenID = fmt.Sprintf("u%d", i%50), fmt.Sprint(i) }))
	}
	n := 0
	for _, l := range j.byAccount {
		n += len(l)
	}
	if n != maxGrants || len(j.order) != maxGrants || len(j.byToken) != maxGrants || j.byAccount["u0"][0].tokenID != "100" {
		t.Errorf("%d remembered, the oldest of u0 is %s", n, j.byAccount["u0"][0].tokenID)
	}
}

// FuzzParseEvents: what is taken gives lines that are read again.
func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(notification))
	f.Add([]byte(`{"events":[{"action":"pull","timestamp":"9999-12-31T23:59:59-14:00","request":{"addr":"[fe80::1%eth0]:5"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := ParseEvents(data)
		if err != nil {
			return
		}
		for _, r := range records {
			text := line(r)
			if len(text) > MaxLine-120 || !json.Valid(text) {
				t.Fatalf("line of %d bytes: %s", len(text), text)
			}
			if _, err := Parse(text); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
	})
}

func FuzzParseRegistryLine(f *testing.F) {
	f.Add([]byte(registryLog))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, ok := parseRegistryLine(data); ok {
			if _, err := Parse(line(r)); err != nil {
				t.Fatalf("%v: %s", err, line(r))
			}
		}
	})
}

const registryLog = `{"auth.user.name":"alice","go.version":"go1.26","http.request.host":"localhost:5000","http.request.id":"id","http.request.method":"PUT","http.request.remoteaddr":"203.0.113.9","http.request.uri":"/v2/dev-backend/api/manifests/1.4","http.request.useragent":"crane","http.response.duration":"3ms","http.response.status":201,"level":"info","msg":"response completed","time":"2026-11-23T22:14:03Z","vars.name":"dev-backend/api","vars.reference":"1.4"}`

func TestRegistryLog(t *testing.T) {
	t.Parallel()
	swap := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(registryLog) }
	input := strings.Join([]string{
		"registry-1  | " + registryLog,
		"plain text",
		swap("PUT", "GET", "alice", "bob"),
		swap("PUT", "GET", "201", "401"),
		swap("PUT", "DELETE", "201", "202", `"1.4"`, `"sha256:aa"`),
		swap("PUT", "POST", "/manifests/1.4", "/blobs/uploads/?from=base/os&mount=sha256%3Aff"),
		swap("PUT", "PATCH", "/manifests/1.4", "/blobs/uploads/x"),
	}, "\n")
	var got []string
	stats, err := ScanRegistryLog(t.Context(), strings.NewReader(input), nil, func(r *Record) error {
		got = append(got, strings.Join([]string{r.Account, r.Event.Action, r.Event.Repository, r.Event.Tag, r.Event.Digest, r.Event.FromRepository}, " "))
		return nil
	})
	want := []string{
		"alice push dev-backend/api 1.4  ", "bob pull dev-backend/api 1.4  ", "alice delete dev-backend/api  sha256:aa ", "alice mount dev-backend/api 1.4 sha256:ff base/os",
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") || stats.Lines != 7 {
		t.Errorf("%v, %+v\ngot  %q\nwant %q", err, stats, got, want)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s := NewSummary()
	event := func(account, action, repo string, hours int) {
		s.Add(&Record{Kind: KindEvent, Time: at.Add(time.Duration(hours) * time.Hour), Authenticated: true, Account: account, Address: netip.MustParseAddr("10.0.0.1"), Event: &Event{Action: action, Repository: repo}})
	}
	for i := range 5 {
		event("alice", "pull", "a/b", i)
	}
	event("bob", "push", "a/b", 30)
	event("", "pull", "c", 31)
	for range 2 {
		s.Add(&Record{Kind: KindToken, Time: at, Authenticated: true, Account: "bob", Result: "partial", TokenID: "t", Scopes: []Scope{{Type: "repository", Name: "c", Asked: []string{"pull", "push"}, Granted: []string{"pull"}, Entry: 4, File: "f", Line: 9}}})
	}
	if got := s.Accounts(2); len(got) != 2 || got[0].Name != "alice" || got[0].Pulls != 5 || got[1].Name != "bob" || got[1].Denied != 2 || got[1].Pushes != 1 || got[1].Tokens != 2 {
		t.Errorf("accounts %+v", got)
	}
	if got := s.Repositories(0); len(got) != 2 || got[0].Name != "a/b" || got[0].Total() != 6 || got[1].Denied != 2 {
		t.Errorf("repositories %+v", got)
	}
	if got := s.Refusals(0); len(got) != 1 || got[0].Count != 2 || got[0].Line != 9 || strings.Join(got[0].Actions, ",") != "push" {
		t.Errorf("refusals %+v", got)
	}
	for n := 1; n < 60; n += 7 {
		_, buckets := s.Buckets(n, time.UTC)
		sum := Tally{}
		for _, b := range buckets {
			sum.Pulls += b.Pulls
			sum.Pushes += b.Pushes
			sum.Denied += b.Denied
		}
		if sum.Pulls != 6 || sum.Pushes != 1 || sum.Denied != 2 || len(buckets) > n+1 {
			t.Errorf("%d buckets of at most %d: %+v", len(buckets), n, sum)
		}
	}
}

// TestF3NoSecretInAnyLine: nothing of a header, a password or a token can get into a line,
// since no record has a place for one; what identifies a listener stays out of its records.
func TestF3NoSecretInAnyLine(t *testing.T) {
	t.Parallel()
	k := &kept{}
	e := newEvents(k, nil)
	with := strings.Replace(notification, `"actor":{`, `"actor":{"token":"canary-token",`, 1)
	if got := report(t, e, with, nil); got != 200 {
		t.Fatalf("status %d", got)
	}
	for _, r := range k.records {
		if text := string(line(r)); strings.Contains(text, token) || strings.Contains(text, "canary") {
			t.Errorf("%s", text)
		}
	}
}

// TestEventsOfLayers: that a layer was mounted is told by nothing but its event; that it was
// sent or fetched, the manifest tells.
func TestEventsOfLayers(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]int{"push": 0, "pull": 0, "mount": 1, "delete": 1} {
		k := &kept{}
		body := strings.NewReplacer("application/vnd.oci.image.manifest.v1+json", "application/octet-stream", `"action":"push"`, `"action":"`+action+`"`,
			`"tag":"1.4"`, `"fromRepository":"dev-backend/base"`).Replace(notification)
		if got := report(t, newEvents(k, nil), body, nil); got != http.StatusOK || len(k.records) != want {
			t.Errorf("%s: status %d, %d records, want %d", action, got, len(k.records), want)
		}
		if len(k.records) > 0 && k.records[0].Event.FromRepository != "dev-backend/base" {
			t.Errorf("%s: record %s", action, line(k.records[0]))
		}
	}
}
