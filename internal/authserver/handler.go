package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/scope"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// ServeHTTP answers a request. Whatever happens, a panic included, the answer is one of
// the documented ones and one line is logged.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	s.counts.requests.Add(1)
	begin := s.now()
	id := s.newRequestID()
	out := &answerWriter{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			s.counts.panics.Add(1)
			s.log.Error("a request panicked", "request_id", id, "panic", panicText(p), "at", callers())
			if !out.written {
				s.refuse(out, r, st, &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", msg: "internal error"})
			}
		}
	}()
	h := w.Header()
	out.id[0] = id
	h["X-Request-Id"] = out.id[:]
	h["X-Content-Type-Options"] = s.headers.nosniff
	if st.HSTS {
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
	switch path := r.URL.Path; {
	case path == st.PathPrefix+"/auth", path == st.PathPrefix+"/auth/token":
		s.serveToken(out, r, st, id, begin)
		return
	case path == st.PathPrefix+"/":
		s.servePlain(out, r, st, id, begin, s.servePage)
	case path == "/healthz":
		s.servePlain(out, r, st, id, begin, s.serveHealth)
	case path == "/readyz":
		s.servePlain(out, r, st, id, begin, s.serveReady)
	case path == jwksPath && len(st.JWKS) > 0:
		s.servePlain(out, r, st, id, begin, s.serveJWKS)
	default:
		s.refuse(out, r, st, &refusal{status: http.StatusNotFound, code: "NOT_FOUND", msg: "no such page"})
		s.logPlain(r, id, begin, out.status)
	}
}

// fixedHeaders are values that all answers share, in place of one slice for each header of
// each answer. They have no room to append to.
type fixedHeaders struct{ nosniff, noStore, noCache, json []string }

func newFixedHeaders() fixedHeaders {
	return fixedHeaders{
		nosniff: []string{"nosniff"}, noStore: []string{"no-store"}, noCache: []string{"no-cache"}, json: []string{"application/json"},
	}
}

// servePlain serves what has no credentials in it.
func (s *Server) servePlain(w *answerWriter, r *http.Request, st *State, id string, begin time.Time, serve func(*answerWriter, *http.Request, *State)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuse(w, r, st, methodRefusal("GET, HEAD"))
	} else {
		serve(w, r, st)
	}
	s.logPlain(r, id, begin, w.status)
}

func (s *Server) logPlain(r *http.Request, id string, begin time.Time, status int) {
	level := s.log.Info
	if status == http.StatusOK {
		level = s.log.Debug // health checks come every few seconds
	}
	level("request", "request_id", id, "method", printable(r.Method, 32), "path", printable(r.URL.Path, maxFreeField),
		"status", status, "peer", addressText(peerOf(r.RemoteAddr)), "user_agent", printable(r.UserAgent(), maxFreeField),
		"duration_us", s.now().Sub(begin).Microseconds())
}

func methodRefusal(allow string) *refusal {
	return &refusal{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", msg: "method not allowed", allow: allow}
}

// serveToken answers a token request, records and logs it.
func (s *Server) serveToken(w *answerWriter, r *http.Request, st *State, id string, begin time.Time) {
	h := w.Header()
	h["Cache-Control"], h["Pragma"] = s.headers.noStore, s.headers.noCache
	d := &Decision{Time: begin, RequestID: id, Method: r.Method, Peer: peerOf(r.RemoteAddr), UserAgent: r.UserAgent()}
	s.beginTrace(r, d)
	defer func() {
		if d.Status == 0 { // a panic is on its way
			d.Status, d.Result, d.Reason = http.StatusInternalServerError, ResultError, "internal error"
			s.counts.failed.Add(1)
		}
		d.Duration = s.now().Sub(begin)
		s.timings.note(d.Result, d.Duration)
		d.endTrace()
		s.logDecision(r.Context(), d)
	}()
	buf, _ := s.bodies.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer func() {
		clear(*buf) // a token, and perhaps a refresh token
		s.bodies.Put(buf)
	}()
	ref := s.answer(w, r, st, d, buf)
	if ref != nil {
		d.Status, d.Reason = ref.status, ref.reason
		if d.Reason == "" {
			d.Reason = ref.msg
		}
		d.Result = s.countRefusal(ref.status)
	} else {
		d.Status = http.StatusOK
	}
	if d.Result != ResultGone {
		if failed := s.record(r.Context(), st, d); failed != nil && ref == nil {
			ref = failed
			d.Status, d.Result, d.Reason = ref.status, ResultError, ref.reason
			d.TokenID, d.Lifetime, d.Reused = "", 0, false
			s.takeBack(st, d)
		}
	}
	if ref != nil {
		s.refuse(w, r, st, ref)
		return
	}
	s.counts.granted.Add(1)
	h["Content-Type"] = s.headers.json
	w.send(r, http.StatusOK, *buf)
}

// record hands the decision to the recorder. A refusal comes back where none may go
// unrecorded.
func (s *Server) record(ctx context.Context, st *State, d *Decision) *refusal {
	rec := s.recorderOf(st)
	if rec == nil {
		return nil
	}
	d.Duration = s.now().Sub(d.Time)
	end := d.phase("record")
	err := rec.Record(ctx, d)
	end()
	s.unrecorded.Store(err != nil)
	if err == nil {
		return nil
	}
	s.counts.auditErrors.Add(1)
	if !st.AuditRequired {
		return nil
	}
	return &refusal{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", msg: "temporarily unavailable", retry: 5,
		reason: "the decision could not be recorded: " + err.Error()}
}

func (s *Server) recorderOf(st *State) Recorder {
	if st.Recorder != nil {
		return st.Recorder
	}
	return s.recorder
}

// auditFault reports whether decisions go unrecorded: by what the recorder says now, or
// where it can't say by what became of the last one.
func (s *Server) auditFault(st *State) bool {
	if r, ok := s.recorderOf(st).(interface{ Err() error }); ok {
		return r.Err() != nil
	}
	return s.unrecorded.Load()
}

// statusGone is logged for clients that left before their answer; nothing is sent.
const statusGone = 499

func (s *Server) countRefusal(status int) Result {
	switch status {
	case http.StatusUnauthorized:
		s.counts.refused.Add(1)
		return ResultUnauthorized
	case http.StatusTooManyRequests:
		s.counts.limited.Add(1)
		return ResultLimited
	case http.StatusServiceUnavailable:
		s.counts.busy.Add(1)
		return ResultBusy
	case http.StatusInternalServerError:
		s.counts.failed.Add(1)
		return ResultError
	case statusGone:
		return ResultGone
	}
	s.counts.malformed.Add(1)
	return ResultMalformed
}

// tokenAnswer is the body of a token.
type tokenAnswer struct {
	token     signed
	expiresIn int64   // seconds
	scope     *string // for POST only, as OAuth 2 wants it
	refresh   secret.Text
}

// appendJSON appends the answer, the token under both names that clients look for. A token is
// made of letters, digits, "-", "_" and ".", which need no quoting.
func (a *tokenAnswer) appendJSON(b []byte) []byte {
	t := &a.token
	b = slices.Grow(b, 2*(len(t.header)+len(t.rest))+160)
	b = append(append(append(b, `{"token":"`...), t.header...), t.rest...)
	b = append(append(append(b, `","access_token":"`...), t.header...), t.rest...)
	b = strconv.AppendInt(append(b, `","expires_in":`...), a.expiresIn, 10)
	b = time.Unix(t.issued, 0).UTC().AppendFormat(append(b, `,"issued_at":"`...), time.RFC3339)
	b = append(b, '"')
	if !a.refresh.IsZero() {
		quoted, err := json.Marshal(a.refresh.Reveal())
		if err != nil {
			quoted = []byte(`""`)
		}
		b = append(append(b, `,"refresh_token":`...), quoted...)
	}
	if a.scope != nil {
		quoted, err := json.Marshal(*a.scope)
		if err != nil { // a text always has a JSON form
			quoted = []byte(`""`)
		}
		b = append(append(b, `,"scope":`...), quoted...)
	}
	return append(b, "}\n"...)
}

// answer does all the work of a token request, notes what it finds in d and puts the answer's
// body into buf.
func (s *Server) answer(w *answerWriter, r *http.Request, st *State, d *Decision, buf *[]byte) *refusal {
	limits := st.Limits.withDefaults()
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return methodRefusal("GET, HEAD, POST")
	}
	if len(r.URL.RawQuery) > limits.Header {
		return tooLarge("query", limits.Header)
	}
	addr, err := st.RealIP.client(r.Header, d.Peer)
	if err != nil {
		return malformed("%v", err)
	}
	d.Address = addr
	req, ref := s.readRequest(w, r, limits, st.Listen.withDefaults().ReadTimeout)
	if req != nil {
		d.Presented, d.ClientID, d.Service = req.presented, req.clientID, req.service
	}
	if ref != nil {
		return ref
	}
	if st.Services != nil && !slices.Contains(st.Services, req.service) {
		return malformed("unknown service %s", strconv.Quote(req.service))
	}
	end := d.phase("authenticate")
	id, known := st.recall(req)
	ctx := r.Context()
	if !known || len(st.Authorizers) > 0 {
		// A backend may take its time, but not longer than the answer can still be sent.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, st.Listen.withDefaults().WriteTimeout*9/10, errSlowBackend)
		defer cancel()
	}
	switch limited := st.RealIP.limitedBy(r.Header, d.Peer, addr); {
	case known:
		s.counts.recalled.Add(1)
	case req.refresh.IsZero():
		id, err = s.authenticate(ctx, st, req, limited)
	default:
		id, err = s.redeem(ctx, st, req, limited, d)
	}
	end()
	if err != nil {
		return authRefusal(ctx, err)
	}
	if req.claimed != "" && req.claimed != id.Account {
		return malformed("account and user differ")
	}
	d.Authenticated, d.Account = true, id.Account

	end = d.phase("decide")
	access, err := s.decide(ctx, st, id, req, addr, d)
	end()
	if err != nil {
		return backendRefusal(ctx, err, "the access could not be decided")
	}
	lifetime := st.lifetime(access)
	end = d.phase("sign")
	tok, reused, err := s.issue(st, token.Request{Subject: id.Account, Audience: req.service, Access: access, Lifetime: lifetime}, addr)
	end()
	if err != nil {
		return &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", msg: "the token could not be signed",
			reason: "signing the token: " + err.Error()}
	}
	d.TokenID, d.Lifetime, d.Reused = tok.id, lifetime, reused
	// As the specification of the token answer has it, the lifetime counts from issued_at,
	// also when the token was issued a while ago.
	a := tokenAnswer{token: tok, expiresIn: int64(lifetime / time.Second), refresh: s.offer(ctx, st, req, d)}
	if r.Method == http.MethodPost {
		granted := grantedScopes(d.Scopes)
		a.scope = &granted
	}
	*buf = a.appendJSON((*buf)[:0])
	return nil
}

// readRequest reads the request and, for POST, its body.
func (s *Server) readRequest(w *answerWriter, r *http.Request, limits Limits, timeout time.Duration) (*tokenRequest, *refusal) {
	form, ref := map[string][]string(nil), (*refusal)(nil)
	if r.Method == http.MethodPost {
		// A handler on somebody else's server has no time limit but this.
		rc := http.NewResponseController(w.ResponseWriter)
		_ = rc.SetReadDeadline(time.Now().Add(timeout))
		done := noteReading(r.Context())
		form, ref = readForm(w.ResponseWriter, r, limits)
		done()
		if ref != nil {
			return nil, ref
		}
		// Once it has the request the server reads on to notice a client that leaves; a
		// deadline that passes then would look like one.
		_ = rc.SetReadDeadline(time.Time{})
	} else if r.ContentLength == 0 {
		// With a body that nobody reads the deadline must stay: the HTTP server drains it.
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Time{})
	}
	return parseTokenRequest(r.Method, r.Header, r.URL.RawQuery, form, limits)
}

// errNoCredentials: there is no anonymous account.
var errNoCredentials = fmt.Errorf("no credentials (%w)", authn.ErrNoSuchUser)

// authenticate finds out who asks, where nobody remembers.
func (s *Server) authenticate(ctx context.Context, st *State, req *tokenRequest, addr netip.Addr) (authn.Identity, error) {
	if req.anonymous {
		return authn.Identity{}, errNoCredentials
	}
	var id authn.Identity
	attempt := authn.Attempt{Account: req.account, Password: req.password, Addr: addr}
	err := s.guard.DoYielding(ctx, attempt, func(yield func()) error {
		// Of many clients that came at once with the same credentials, all but the first
		// find the answer here.
		var ok bool
		if id, ok = st.recall(req); ok {
			return nil
		}
		err := authn.ErrNoSuchUser
		for i, a := range st.Authenticators {
			if i > 0 {
				yield() // only the first, the config's own users, computes hashes
			}
			if id, err = a.Authenticate(ctx, req.account, req.password); !errors.Is(err, authn.ErrNoSuchUser) {
				break
			}
		}
		return err
	})
	if err == nil && id.Account != req.account {
		return authn.Identity{}, fmt.Errorf("authenticator answered for %q, asked for %q", id.Account, req.account)
	}
	return id, err
}

// recall is who asks with credentials that were verified lately, or with none.
func (st *State) recall(req *tokenRequest) (authn.Identity, bool) {
	if !req.refresh.IsZero() {
		return authn.Identity{}, false
	}
	for _, a := range st.Authenticators {
		if r, ok := a.(authn.Recaller); ok {
			if id, ok := r.Recall(req.account, req.password); ok {
				return id, true
			}
		}
	}
	return authn.Identity{}, false
}

// authRefusal turns a failed authentication into an answer. All bad credentials get the
// same one.
func authRefusal(ctx context.Context, err error) *refusal {
	var limit *authn.LimitError
	switch {
	case errors.As(err, &limit):
		return &refusal{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", msg: limit.Error(), retry: int(limit.RetryAfter / time.Second)}
	case errors.Is(err, errNoCredentials):
		return &refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED", msg: "authentication required", challenge: true, reason: "no credentials"}
	case authn.Refused(err):
		return unusable(err.Error())
	}
	return backendRefusal(ctx, err, "the login could not be checked")
}

// errSlowBackend ends a request whose answer would come too late to be sent.
var errSlowBackend = errors.New("the answer did not come in time")

// backendRefusal is the answer where a login or rules could not be asked; msg is what the
// client is told then.
func backendRefusal(ctx context.Context, err error, msg string) *refusal {
	var busy *authn.BusyError
	switch {
	case errors.As(err, &busy):
		return &refusal{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", msg: "too many requests at once; try again",
			retry: int(busy.RetryAfter / time.Second), reason: busy.Error()}
	case errors.Is(context.Cause(ctx), errSlowBackend):
		return &refusal{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", msg: msg + " in time; try again", retry: 5, reason: errSlowBackend.Error()}
	case ctx.Err() != nil:
		return &refusal{status: statusGone, reason: "the client left"}
	}
	return &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", msg: msg, reason: err.Error()}
}

// decide asks the policy, and then the authorizers, for each scope on its own.
func (s *Server) decide(ctx context.Context, st *State, id authn.Identity, req *tokenRequest, addr netip.Addr, d *Decision) ([]token.Access, error) {
	access := make([]token.Access, 0, len(req.scopes))
	d.Scopes = make([]ScopeDecision, 0, len(req.scopes))
	asked, granted := 0, 0
	for _, sc := range req.scopes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		question := acl.Request{
			Account: id.Account, Type: sc.Type, Name: sc.Name, Service: req.service,
			Labels: id.Labels, IP: addr, Actions: sc.Actions,
		}
		dec := st.Policy.Decide(&question, nil)
		sd := ScopeDecision{Type: sc.Type, Class: sc.Class, Name: sc.Name, Asked: sc.Actions}
		if dec.Index >= 0 && dec.Index < st.Policy.Len() {
			e := st.Policy.Entry(dec.Index)
			sd.Entry, sd.File, sd.Line, sd.Comment = dec.Index+1, e.Pos.File, e.Pos.Line, e.Comment
		}
		if dec.Index < 0 && dec.Err == nil {
			var err error
			if dec.Granted, sd.Authorizer, err = st.authorize(ctx, &question); err != nil {
				return nil, err
			}
		}
		switch {
		case dec.Err != nil:
			sd.Err = dec.Err.Error()
			s.counts.matcherErrors.Add(1)
		default:
			sd.Granted = slices.DeleteFunc(slices.Clone(dec.Granted), func(a string) bool { return !slices.Contains(sc.Actions, a) })
		}
		asked += len(sc.Actions)
		granted += len(sd.Granted)
		d.Scopes = append(d.Scopes, sd)
		actions := sd.Granted
		if actions == nil {
			actions = []string{}
		}
		access = append(access, token.Access{Type: sc.Type, Name: sc.Name, Actions: actions})
	}
	switch {
	case len(req.scopes) == 0:
		d.Result = ResultLogin
	case granted == asked:
		d.Result = ResultGranted
	case granted > 0:
		d.Result = ResultPartial
	default:
		d.Result = ResultDenied
	}
	return access, nil
}

// authorize asks those that decide where no entry of the policy matched, and names the one
// that did.
func (st *State) authorize(ctx context.Context, req *acl.Request) (granted []string, by string, err error) {
	for _, a := range st.Authorizers {
		granted, matched, err := a.Authorize(ctx, req)
		if err != nil {
			return nil, a.Name(), err
		}
		if matched {
			return granted, a.Name(), nil
		}
	}
	return nil, "", nil
}

// lifetime is that of a token with this access.
func (st *State) lifetime(access []token.Access) time.Duration {
	pullOnly := true
	for _, a := range access {
		for _, action := range a.Actions {
			pullOnly = pullOnly && action == "pull"
		}
	}
	switch {
	case pullOnly && st.PullExpiration > 0:
		return st.PullExpiration
	case !pullOnly && st.PushExpiration > 0:
		return st.PushExpiration
	}
	return st.Expiration
}

// grantedScopes prints what was granted as OAuth 2 wants it.
func grantedScopes(list []ScopeDecision) string {
	var out []string
	for i := range list {
		if d := &list[i]; len(d.Granted) > 0 {
			out = append(out, scope.Scope{Type: d.Type, Class: d.Class, Name: d.Name, Actions: d.Granted}.String())
		}
	}
	return strings.Join(out, " ")
}

// answerWriter knows whether an answer was begun, and with which status.
type answerWriter struct {
	http.ResponseWriter
	written bool
	status  int
	// id and length are the values of two headers, in the place of slices of their own.
	id, length [1]string
}

func (w *answerWriter) send(r *http.Request, status int, body []byte) {
	w.written, w.status = true, status
	w.length[0] = strconv.Itoa(len(body))
	w.Header()["Content-Length"] = w.length[:]
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that left is no event
	}
}

// refuse sends an error in the registry's own form. Clients show the message.
func (s *Server) refuse(w *answerWriter, r *http.Request, st *State, ref *refusal) {
	if ref.status == statusGone {
		w.written, w.status = true, statusGone
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if ref.challenge {
		h.Set("WWW-Authenticate", "Basic realm="+quotedString(st.Realm))
	}
	if ref.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(ref.retry))
	}
	if ref.allow != "" {
		h.Set("Allow", ref.allow)
	}
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Errors []item `json:"errors"`
	}{[]item{{ref.code, printable(ref.msg, 500)}}})
	if err != nil {
		body = []byte(`{"errors":[]}`)
	}
	w.send(r, ref.status, append(body, '\n'))
}

// quotedString writes s as an HTTP quoted-string (RFC 9110, 5.6.4). Control characters
// can't stand in a header and are left out.
func quotedString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c != 0x7f:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// panicText says what a panic was about. What the runtime says is about places and numbers;
// of anything else only the kind is told, since its text could hold what a client sent.
func panicText(p any) string {
	var re runtime.Error
	if err, ok := p.(error); ok && errors.As(err, &re) {
		return printable(re.Error(), 500)
	}
	return fmt.Sprintf("%T", p)
}

// callers names the functions on the stack, without their arguments.
func callers() []string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	var out []string
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			out = append(out, f.Function[strings.LastIndexByte(f.Function, '/')+1:]+":"+strconv.Itoa(f.Line))
		}
		if !more || len(out) == 20 {
			return out
		}
	}
}
