package authserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func basicHeader(text string) []string {
	return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(text))}
}

// TestParseTokenRequest is the reading of requests, row by row. want is the account,
// "(anonymous)", or the refusal's status and a word of its message or reason.
func TestParseTokenRequest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string // GET unless said
		auth   []string
		query  string
		form   string
		want   string
	}{
		{name: "nothing", want: "(anonymous)"},
		{name: "Basic", auth: basicHeader("alice:pw"), want: "alice"},
		{name: "Basic, scheme in lower case", auth: []string{"basic " + basicHeader("alice:pw")[0][6:]}, want: "alice"},
		{name: "colon in the password", auth: basicHeader("alice:p:w"), want: "alice"},
		{name: "empty password", auth: basicHeader("alice:"), want: "alice"},
		{name: "empty Basic", auth: basicHeader(":"), want: "(anonymous)"},
		{name: "password without a name", auth: basicHeader(":pw"), want: "401 no user name"},
		{name: "no colon", auth: basicHeader("alice"), want: "401 no colon"},
		{name: "not base64", auth: []string{"Basic !!!notbase64"}, want: "401 base64"},
		{name: "base64 without its padding", auth: []string{"Basic YTpi" + "Yw"}, want: "401 base64"},
		{name: "no credentials after Basic", auth: []string{"Basic"}, want: "401 no colon"},
		{name: "Bearer", auth: []string{"Bearer xxx"}, want: "401 not Basic"},
		{name: "empty header", auth: []string{""}, want: "401 not Basic"},
		{name: "two headers", auth: slices.Concat(basicHeader("alice:pw"), basicHeader("alice:pw")), want: "400 more than one"},
		{name: "NUL in the name", auth: basicHeader("al\x00ice:pw"), want: "400 NUL"},
		{name: "NUL in the password", auth: basicHeader("alice:p\x00w"), want: "400 NUL"},
		{name: "long name", auth: basicHeader(strings.Repeat("a", 256) + ":pw"), want: "400 longer"},
		{name: "longest name", auth: basicHeader(strings.Repeat("a", 255) + ":pw"), want: strings.Repeat("a", 255)},
		{name: "long password", auth: basicHeader("alice:" + strings.Repeat("a", 1025)), want: "400 longer"},
		{name: "longest password", auth: basicHeader("alice:" + strings.Repeat("a", 1024)), want: "alice"},
		{name: "name that is no UTF-8", auth: basicHeader("al\xffice:pw"), want: "400 UTF-8"},

		{name: "account is the user", auth: basicHeader("alice:pw"), query: "account=alice", want: "alice"},
		{name: "empty account", auth: basicHeader("alice:pw"), query: "account=", want: "alice"},
		{name: "another account", auth: basicHeader("alice:pw"), query: "account=admin", want: "400 differ"},
		{name: "a second account", auth: basicHeader("alice:pw"), query: "account=alice&account=admin", want: "400 differ"},
		{name: "account without credentials", query: "account=alice", want: "401 without credentials"},
		{name: "account with the empty Basic", auth: basicHeader(":"), query: "account=alice", want: "400 differ"},
		{name: "empty account without credentials", query: "account=", want: "(anonymous)"},

		{name: "POST, form", method: "POST", form: "username=alice&password=pw", want: "alice"},
		{name: "POST, nothing", method: "POST", want: "(anonymous)"},
		{name: "POST, both empty", method: "POST", form: "username=&password=", want: "(anonymous)"},
		{name: "POST, password without a name", method: "POST", form: "username=&password=pw", want: "(anonymous)"},
		{name: "POST, name without a password", method: "POST", form: "username=alice&password=", want: "401 password is missing"},
		{name: "POST, name only", method: "POST", form: "username=alice", want: "401 password is missing"},
		{name: "POST, name twice", method: "POST", form: "username=alice&username=bob&password=pw", want: "400 twice"},
		{name: "POST, password twice", method: "POST", form: "username=alice&password=pw&password=pv", want: "400 twice"},
		{name: "POST, account is the user", method: "POST", form: "username=alice&password=pw&account=alice", want: "alice"},
		{name: "POST, another account", method: "POST", form: "username=alice&password=pw&account=admin", want: "400 differ"},
		{name: "POST, another account in the query", method: "POST", form: "username=alice&password=pw", query: "account=admin", want: "400 differ"},
		{name: "POST, account alone", method: "POST", form: "account=alice", want: "401 without credentials"},
		{name: "POST, Basic", method: "POST", auth: basicHeader("alice:pw"), form: "service=r", want: "alice"},
		{name: "POST, Basic stands above the form", method: "POST", auth: basicHeader("alice:pw"), form: "username=bob&password=x", want: "alice"},
		{name: "POST, refresh token", method: "POST", form: "grant_type=refresh_token&refresh_token=junk", want: "(refresh)"},
		{name: "POST, refresh token with an empty name", method: "POST", form: "grant_type=refresh_token&refresh_token=junk&username=&password=", want: "(refresh)"},
		{name: "POST, refresh token and account", method: "POST", form: "grant_type=refresh_token&refresh_token=junk&account=alice", query: "account=alice", want: "(refresh)"},
		{name: "POST, refresh token and two accounts", method: "POST", form: "grant_type=refresh_token&refresh_token=junk&account=alice", query: "account=bob", want: "400 differ"},
		{name: "POST, refresh token and a long name", method: "POST", form: "grant_type=refresh_token&refresh_token=junk&username=" + strings.Repeat("a", 256), want: "400 longer"},
		{name: "POST, refresh token twice", method: "POST", form: "grant_type=refresh_token&refresh_token=a&refresh_token=b", want: "400 twice"},
		{name: "POST, password grant beside a refresh token", method: "POST", form: "grant_type=password&username=alice&password=pw&refresh_token=a", want: "alice"},
		{name: "POST, empty refresh token", method: "POST", form: "grant_type=refresh_token", want: "401 refresh token"},
		{name: "POST, refresh token of another grant", method: "POST", form: "grant_type=password&refresh_token=junk", want: "401 refresh token"},
		{name: "POST, NUL", method: "POST", form: "username=alice&password=p%00w", want: "400 NUL"},

		{name: "E6: POST, credentials in the query", method: "POST", query: "username=alice&password=pw", want: "400 query"},
		{name: "E6: POST, name in the query", method: "POST", query: "username=alice", form: "password=pw", want: "400 query"},
		{name: "E6: POST, password in the query", method: "POST", query: "password=pw", form: "username=alice&password=pw", want: "400 query"},
		{name: "E6: GET, password in the query", query: "username=alice&password=pw", want: "400 query"},
		{name: "E6: GET, refresh token in the query", query: "refresh_token=x", want: "400 query"},
		{name: "GET, form is not looked at", form: "username=alice&password=pw", want: "(anonymous)"},

		{name: "bad query encoding", query: "service=%zz", want: "400 query"},
		{name: "semicolons", query: "service=a;scope=b", want: "400 query"},
		{name: "bad scope", query: "scope=repository:a", want: "400 scope"},
		{name: "scope limit", query: "scope=" + strings.Repeat("a:b:c%20", 101), want: "400 more than 100 scopes"},
		{name: "service that is no UTF-8", query: "service=%ff", want: "400 UTF-8"},
		{name: "long service", query: "service=" + strings.Repeat("a", 256), want: "400 longer"},
	}
	for _, tt := range tests {
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		if tt.auth != nil {
			header["Authorization"] = tt.auth
		}
		if tt.method == "" {
			tt.method = http.MethodGet
		}
		req, ref := parseTokenRequest(tt.method, header, tt.query, form, Limits{}.withDefaults())
		status, words, refused := strings.Cut(tt.want, " ")
		switch {
		case !refused && ref != nil:
			t.Errorf("%s: refused with %d %s %s, want %s", tt.name, ref.status, ref.msg, ref.reason, tt.want)
		case !refused:
			got := req.account
			if req.anonymous {
				got = "(anonymous)"
			} else if !req.refresh.IsZero() {
				got = "(refresh)"
			}
			if got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		case ref == nil:
			t.Errorf("%s: account %q, want a refusal %s", tt.name, req.account, tt.want)
		default:
			if http.StatusText(ref.status) == "" || status != statusOf(ref) || !strings.Contains(ref.msg+" "+ref.reason, words) {
				t.Errorf("%s: refused with %d %q %q, want %s", tt.name, ref.status, ref.msg, ref.reason, tt.want)
			}
			if ref.challenge != (ref.status == http.StatusUnauthorized) {
				t.Errorf("%s: %d with challenge %v", tt.name, ref.status, ref.challenge)
			}
		}
	}
}

func statusOf(ref *refusal) string {
	b, _ := json.Marshal(ref.status)
	return string(b)
}

func TestParseTokenRequestTakesBoth(t *testing.T) {
	t.Parallel()
	form := url.Values{"service": {"form"}, "scope": {"repository:a:pull", ""}, "client_id": {"c"}}
	req, ref := parseTokenRequest(http.MethodPost, http.Header{}, "service=query&scope=repository:b:push%20registry:catalog:*&client_id=d", form, Limits{}.withDefaults())
	if ref != nil {
		t.Fatal(ref.msg)
	}
	var scopes []string
	for _, s := range req.scopes {
		scopes = append(scopes, s.String())
	}
	want := []string{"repository:a:pull", "repository:b:push", "registry:catalog:*"}
	if req.service != "form" || req.clientID != "c" || !slices.Equal(scopes, want) {
		t.Errorf("service %q, client %q, scopes %q; want the form before the query", req.service, req.clientID, scopes)
	}
}

func TestReadForm(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, contentType, body string
		length                  int64 // 0: the body's
		status                  int   // 0: accepted
	}{
		{"form", form, "a=b", 0, 0},
		{"form with a charset", form + "; charset=UTF-8", "a=b", 0, 0},
		{"empty", "", "", 0, 0},
		{"empty JSON", "application/json", "", 0, 0},
		{"JSON", "application/json", `{"username":"a"}`, 0, 400},
		{"no type", "", "a=b", 0, 400},
		{"multipart", "multipart/form-data; boundary=x", "--x--", 0, 400},
		{"bad encoding", form, "password=%zz", 0, 400},
		{"as much as allowed", form, "a=" + strings.Repeat("b", 64<<10-2), 0, 0},
		{"one byte more", form, "a=" + strings.Repeat("b", 64<<10-1), 0, 413},
		{"one byte more, of unknown length", form, "a=" + strings.Repeat("b", 64<<10-1), -1, 413},
		{"announced length", form, "a=b", 1 << 30, 413},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/auth", strings.NewReader(tt.body))
		if tt.length != 0 {
			r.ContentLength = tt.length
		}
		if tt.contentType != "" {
			r.Header.Set("Content-Type", tt.contentType)
		}
		_, ref := readForm(httptest.NewRecorder(), r, Limits{}.withDefaults())
		if got := 0; ref != nil && ref.status != tt.status || ref == nil && tt.status != got {
			t.Errorf("%s: %+v, want status %d", tt.name, ref, tt.status)
		}
	}
}

func TestB9ClientAddress(t *testing.T) {
	t.Parallel()
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("fc00::/7")}
	proxied := RealIP{Header: "X-Forwarded-For", Trusted: private}
	nobody := RealIP{Header: "X-Forwarded-For", Trusted: []netip.Prefix{}}
	const caddy, stranger = "172.18.0.5:40000", "203.0.113.9:50000"
	for _, tt := range []struct {
		name  string
		ip    RealIP
		peer  string
		lines []string // of X-Forwarded-For
		want  string   // "400" for a refusal, "none" for no address
	}{
		// The eighteen of the threat table: (peer, headers), none of them forged.
		{"1 no header wanted", RealIP{}, stranger, []string{"10.1.1.1"}, "203.0.113.9"},
		{"2 proxy, one address", proxied, caddy, []string{"203.0.113.9"}, "203.0.113.9"},
		{"3 proxy appends to a forged one", proxied, caddy, []string{"10.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		{"4 forged in a line of its own", proxied, caddy, []string{"10.1.1.1", "203.0.113.9"}, "203.0.113.9"},
		{"5 forged after: the proxy's line is last", proxied, caddy, []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		{"6 two proxies", proxied, caddy, []string{"203.0.113.9, 172.18.0.7"}, "203.0.113.9"},
		{"7 client in the private network", proxied, caddy, []string{"10.9.9.9"}, "10.9.9.9"},
		{"8 all trusted: the leftmost", proxied, caddy, []string{"10.9.9.9, 172.18.0.7"}, "10.9.9.9"},
		{"9 stranger with a header", proxied, stranger, []string{"10.1.1.1"}, "203.0.113.9"},
		{"10 stranger without", proxied, stranger, nil, "203.0.113.9"},
		{"11 proxy without a header", proxied, caddy, nil, "400"},
		{"12 proxy with an empty one", proxied, caddy, []string{""}, "400"},
		{"13 garbage at the end", proxied, caddy, []string{"203.0.113.9, unknown"}, "400"},
		{"14 garbage left of what counts", proxied, caddy, []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"15 trailing comma", proxied, caddy, []string{"203.0.113.9,"}, "400"},
		{"16 unix socket is a proxy", proxied, "@", []string{"203.0.113.9"}, "203.0.113.9"},
		{"17 IPv6 with a port, mapped peer", proxied, "[::ffff:172.18.0.5]:40000", []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		{"18 nobody is trusted", nobody, caddy, []string{"10.1.1.1"}, "172.18.0.5"},
		{"zone", proxied, caddy, []string{"fe80::1%eth0"}, "400"},
		{"unix socket without header setting", RealIP{}, "@", nil, "none"},
		{"unix socket, header missing", proxied, "", nil, "400"},

		// B10 and docker_auth's way, without a list of proxies.
		{"pos 0", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"9.9.9.9, 10.2.2.2"}, "9.9.9.9"},
		{"pos 1", RealIP{Header: "X-Forwarded-For", Pos: 1}, caddy, []string{"9.9.9.9, 10.2.2.2"}, "10.2.2.2"},
		{"B10 pos 1 of one", RealIP{Header: "X-Forwarded-For", Pos: 1}, caddy, []string{"9.9.9.9"}, "400"},
		{"B10 pos 1 of none", RealIP{Header: "X-Forwarded-For", Pos: 1}, caddy, []string{""}, "400"},
		{"B10 pos far off", RealIP{Header: "X-Forwarded-For", Pos: 1 << 40}, caddy, []string{"9.9.9.9"}, "400"},
		{"pos -1", RealIP{Header: "X-Forwarded-For", Pos: -1}, caddy, []string{"9.9.9.9, 10.2.2.2"}, "10.2.2.2"},
		{"pos -2 of one", RealIP{Header: "X-Forwarded-For", Pos: -2}, caddy, []string{"9.9.9.9"}, "9.9.9.9"},
		{"pos far to the left", RealIP{Header: "X-Forwarded-For", Pos: -1 << 60}, caddy, []string{"9.9.9.9, 10.2.2.2"}, "9.9.9.9"},
		{"missing", RealIP{Header: "X-Forwarded-For"}, caddy, nil, "400"},
		{"port", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"1.2.3.4:99"}, "1.2.3.4"},
		{"IPv6", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6, port", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		{"IPv6 in brackets", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"[2001:db8::1]"}, "400"},
		{"mapped", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{"blanks", RealIP{Header: "X-Forwarded-For"}, caddy, []string{" 10.0.0.5 ,1.1.1.1"}, "10.0.0.5"},
		{"a name", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"not-an-ip"}, "400"},
		{"port without digits", RealIP{Header: "X-Forwarded-For"}, caddy, []string{"1.2.3.4:"}, "400"},
	} {
		header := http.Header{}
		for _, l := range tt.lines {
			header.Add("X-Forwarded-For", l)
		}
		addr, err := tt.ip.client(header, peerOf(tt.peer))
		got := addr.String()
		switch {
		case err != nil:
			got = "400"
		case !addr.IsValid():
			got = "none"
		}
		if got != tt.want {
			t.Errorf("%s: %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestA5ForgedAddressesCountAsOne: where any peer's header counts, failures must not be
// counted by an address that the guesser chooses.
func TestA5ForgedAddressesCountAsOne(t *testing.T) {
	t.Parallel()
	legacy := RealIP{Header: "X-Forwarded-For"}
	trusting := RealIP{Header: "X-Forwarded-For", Trusted: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}}
	for _, tt := range []struct {
		name  string
		ip    RealIP
		peer  string
		lines []string
		want  string
	}{
		{"no header setting", RealIP{}, "203.0.113.9:1", []string{"1.2.3.4"}, "203.0.113.9"},
		{"trusted proxies", trusting, "172.18.0.5:1", []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
		{"a proxy that appends", legacy, "172.18.0.5:1", []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
		{"a proxy that adds a line", legacy, "172.18.0.5:1", []string{"6.6.6.6", "203.0.113.9"}, "203.0.113.9"},
		{"a proxy that replaces", legacy, "127.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"no proxy in between", legacy, "203.0.113.9:1", []string{"6.6.6.6"}, "203.0.113.9"},
		{"garbage at the end", legacy, "172.18.0.5:1", []string{"6.6.6.6, x"}, "172.18.0.5"},
		{"unix socket", legacy, "@", []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
	} {
		header := http.Header{"X-Forwarded-For": tt.lines}
		peer := peerOf(tt.peer)
		client, err := tt.ip.client(header, peer)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := tt.ip.limitedBy(header, peer, client).String(); got != tt.want {
			t.Errorf("%s: counted by %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"alice", "alice"},
		{"Ünïcode 名前", "Ünïcode 名前"},
		{"a\nb\r\t\x00", `a\u{a}b\u{d}\u{9}\u{0}`},
		{"\x1b[31mred\x7f", `\u{1b}[31mred\u{7f}`},
		{"a\u2028b\u2029", `a\u{2028}b\u{2029}`},
		{"a\u202eb\u2066\u200f\u061c", `a\u{202e}b\u{2066}\u{200f}\u{61c}`},
		{"zero\u200bwidth\ufeff\u00ad", `zero\u{200b}width\u{feff}\u{ad}`},
		{"a\u00a0b\u0085", `a\u{a0}b\u{85}`},
		{"bad\xffbyte", `bad\xffbyte`},
		{"\ufffd", `\u{fffd}`},
		{`"quoted\"`, `"quoted\"`},
		{"", ""},
	} {
		if got := printable(tt.in, 200); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := printable(strings.Repeat("é", 500), 20); got != strings.Repeat("é", 8)+"…" {
		t.Errorf("cut to %q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("alice", 20)
	f.Add("\x1b\u202e\xff\"\\", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 8 + max(0, limit)%1000
		got := printable(s, limit)
		quoted, err := json.Marshal(got)
		if err != nil || !utf8.ValidString(got) {
			t.Fatalf("printable(%q) = %q is no text", s, got)
		}
		size := len(got) + strings.Count(got, `"`) + strings.Count(got, `\`)
		if size > limit {
			t.Fatalf("printable(%q, %d) takes %d bytes: %s", s, limit, size, quoted)
		}
		for _, r := range got {
			if r != '…' && !plain(r) {
				t.Fatalf("printable(%q) = %q holds %U", s, got, r)
			}
		}
	})
}

func TestQuotedString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Acme auth server":           `"Acme auth server"`,
		`a"b\c`:                      `"a\"b\\c"`,
		"evil\r\nSet-Cookie: x\x00y": `"evilSet-Cookie: xy"`,
		"Ünï":                        `"Ünï"`,
		"":                           `""`,
	} {
		if got := quotedString(in); got != want {
			t.Errorf("quotedString(%q) = %s, want %s", in, got, want)
		}
	}
}

// FuzzParseTokenRequest: whatever is sent, a request that is accepted keeps within the
// limits, nobody is an account without a password to show for it, and a refusal is one
// of the documented statuses and repeats no password.
func FuzzParseTokenRequest(f *testing.F) {
	f.Add(false, "Basic YWxpY2U6cHc=", "service=r&scope=repository:a/b:pull,push&account=alice", "")
	f.Add(true, "", "", "grant_type=password&username=alice&password=secret-canary&scope=repository:a:pull&scope=x:y:z")
	f.Add(true, "Basic Og==", "account=x", "username=%00&password=%ff")
	f.Add(false, "Bearer x", "password=1", "")
	f.Add(true, "", "username=a", "refresh_token=x&grant_type=refresh_token")
	f.Add(true, "", "0", "refresh_token=0&grant_type=refresh_token")
	f.Fuzz(func(t *testing.T, post bool, auth, query, body string) {
		limits := Limits{}.withDefaults()
		header := http.Header{}
		if auth != "" {
			header.Set("Authorization", auth)
		}
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		form, err := url.ParseQuery(body)
		if err != nil {
			form = nil
		}
		req, ref := parseTokenRequest(method, header, query, form, limits)
		if req == nil {
			t.Fatal("no request to log")
		}
		if ref != nil {
			if ref.status != 400 && ref.status != 401 {
				t.Fatalf("status %d", ref.status)
			}
			if pw := req.password.Reveal(); len(pw) > 12 && strings.Contains(ref.msg+ref.reason, pw) &&
				!strings.Contains(query+body, pw) {
				t.Fatalf("the refusal repeats the password: %s %s", ref.msg, ref.reason)
			}
			return
		}
		// Whose a refresh token is shows only when it is looked up.
		nobody := req.account == "" && req.refresh.IsZero()
		if req.anonymous != nobody || req.anonymous && !req.password.IsZero() {
			t.Fatalf("anonymous %v, account %q", req.anonymous, req.account)
		}
		if len(req.account) > limits.User || req.password.Len() > limits.Password || len(req.service) > limits.Name ||
			len(req.scopes) > limits.Scopes || !utf8.ValidString(req.account) || strings.Contains(req.account, "\x00") {
			t.Fatalf("beyond the limits: %+v", req)
		}
		if !req.anonymous && auth == "" && !post {
			t.Fatal("an account without credentials")
		}
		for _, s := range req.scopes {
			if len(s.Name) > limits.Name || len(s.Actions) > limits.Actions {
				t.Fatalf("scope beyond the limits: %+v", s)
			}
		}
	})
}
