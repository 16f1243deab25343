package authload_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
)

// requestSeeds are whole requests as they come over the wire.
func requestSeeds() []string {
	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	post := func(path, head, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", path, head, len(body), body)
	}
	return []string{
		"GET /auth?service=r&scope=repository:public/x:pull,push&account=alice HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2U6dGVzdGluZw==\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
		"GET /auth/token?service=r&scope=repository(plugin):host:5000/a/b:*&scope=registry:catalog:*&offline_token=true&client_id=docker HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4:99\r\n\r\n",
		"HEAD /auth?scope=a:b:c+d:e:f HTTP/1.0\r\nAuthorization: Basic Og==\r\nX-Forwarded-For: [2001:db8::1]:99, 10.0.0.2\r\n\r\n",
		post("/auth", form+"X-Forwarded-For: 10.0.0.3\r\n", "grant_type=password&service=r&username=alice&password=testing&scope=repository:public/x:pull+repository:b:push&client_id=x&access_type=offline"),
		post("/auth", form, "grant_type=refresh_token&refresh_token=junk&service=r"),
		post("/auth?service=r", "Content-Type: application/json\r\n", `{"username":"alice"}`),
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n", "PUT /auth HTTP/1.1\r\nHost: x\r\n\r\n",
	}
}

// mutate makes one to three changes to a request.
func mutate(r *rand.Rand, seeds []string) []byte {
	words := []string{
		"&scope=", "&account=", "&service=", "repository:", ":pull", ",push", "+", "%20", "%zz", "%00", "%c3%28", "::", ":", "(", ")", "*", "${labels:team}", "\x00", "\xff",
		"Authorization: Basic !!!\r\n", "Authorization: Bearer x\r\n", "Authorization: Basic OmFueXRoaW5n\r\n", "X-Forwarded-For: ,\r\n", "X-Forwarded-For: ::1%eth0\r\n",
		"POST", "GET", "DELETE", "/auth", "//", "/../", "?", "#", ";", "alice", "testing", "999999999999", strings.Repeat("a:b:c ", 60), strings.Repeat("x", 300),
	}
	text := []byte(seeds[r.IntN(len(seeds))])
	for range 1 + r.IntN(3) {
		from := r.IntN(len(text) + 1)
		to := min(len(text), from+1+r.IntN(20))
		switch r.IntN(5) {
		case 0:
			text = slices.Delete(text, min(from, to), to)
		case 1:
			text = slices.Insert(text, from, slices.Clone(text[min(from, to):to])...)
		case 2:
			if from < len(text) {
				text[from] = byte(r.IntN(256))
			}
		case 3:
			other := seeds[r.IntN(len(seeds))]
			at := r.IntN(len(other))
			text = slices.Insert(text, from, []byte(other[at:min(len(other), at+r.IntN(60))])...)
		default:
			text = slices.Insert(text, from, []byte(words[r.IntN(len(words))])...)
		}
	}
	return text
}

// TestMutatedRequests: a hundred thousand mutated requests that net/http itself accepts;
// none panics, none gets a 5xx, and none gets a token for a user without the password.
func TestMutatedRequests(t *testing.T) {
	t.Parallel()
	srv := fuzzServer(t)
	count := int64(soak(100_000, 3000))
	seeds := requestSeeds()
	var mu sync.Mutex
	statuses := map[int]int{}
	var served, unread atomic.Int64
	var wg sync.WaitGroup
	const workers = 2
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 20260304))
			for n := int64(0); n < count/workers && !t.Failed(); {
				text := mutate(r, seeds)
				req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
				if err != nil {
					unread.Add(1)
					continue
				}
				n++
				served.Add(1)
				req.RemoteAddr = "192.0.2.1:1234"
				status := checkAnswer(t, srv, req.WithContext(t.Context()), string(text))
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d mutated requests (%d more were none): statuses %v, %d panics", served.Load(), unread.Load(), statuses, srv.Stats().Panics)
	for _, status := range []int{200, 400, 401, 404, 405} {
		if int64(statuses[status]) < count/500 {
			t.Errorf("%d answers %d: the mutations have become one-sided", statuses[status], status)
		}
	}
}

// fuzzServer is a server that no number of wrong passwords wears out.
func fuzzServer(t testing.TB) *authserver.Server {
	t.Helper()
	yaml := strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", real_ip_header: X-Forwarded-For}`, 1) +
		"x-regctl-setup: {limits: {failures_per_client: 1000000000, failures_per_user: 1000000000}}\n"
	o := newFolder(t, yaml).options()
	o.Verify = func(h, p secretText) bool { return p.Reveal() == "testing" && h.Reveal() == testing5 }
	return newServer(t, o, nil)
}
