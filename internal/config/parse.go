package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// Keys of the sections that code refers to by name.
const (
	usersKey  = "users"
	aclKey    = "acl"
	extrasKey = "x-regctl-setup"
)

// Parse reads an auth config. path is used in positions only. It returns all problems of the file;
// the File is not nil whenever the YAML can be read, also with problems, so that the file can be
// shown and mended.
func Parse(path string, data []byte) (*File, Problems) {
	at := func(line, column int, code, msg, hint string) Problems {
		return Problems{{File: path, Line: max(line, 1), Column: max(column, 1), Code: code, Msg: msg, Hint: hint}}
	}
	if len(data) > MaxFileSize {
		return nil, at(1, 1, CodeFileTooBig, fmt.Sprintf("the file is %d bytes long, at most %d are read", len(data), MaxFileSize), "")
	}
	doc, err := yamledit.Parse(data)
	if err != nil {
		var syntax *yamledit.SyntaxError
		if !errors.As(err, &syntax) {
			return nil, at(1, 1, CodeSyntax, err.Error(), "")
		}
		msg, hint := explainSyntax(data, syntax)
		return nil, at(syntax.Line, syntax.Column, CodeSyntax, msg, hint)
	}
	f, w := view(path, doc)
	policy, faults := f.compile(w)
	f.faults = faults
	f.finish(w)
	f.compiled.Do(func() { f.policy = policy })
	return f, f.problems
}

// view walks a document. The patterns of the rules are not looked at, and finish is to be called.
func view(path string, doc *yamledit.Document) (*File, *walker) {
	f := &File{Path: path, Server: Server{Net: "tcp"}, Extras: defaultExtras(), doc: doc}
	w := &walker{path: path, f: f}
	w.file(doc.Root())
	w.tabs(doc.Bytes())
	return f, w
}

// finish puts the problems and warnings that were found into the file.
func (f *File) finish(w *walker) {
	f.Warnings = sorted(w.warnings)
	f.problems = sorted(append(w.problems, f.faults...))
	if w.dropped > 0 {
		last := f.problems[len(f.problems)-1]
		last.Msg, last.Hint, last.key = fmt.Sprintf("%d more problems are not listed", w.dropped), "", ""
		f.problems = append(f.problems, last)
	}
}

// explainSyntax puts the YAML scanner's message into words, and names the mistakes behind it that
// people make in this file. It leaves out what the message quotes: it may be a password.
func explainSyntax(data []byte, e *yamledit.SyntaxError) (msg, hint string) {
	msg = e.Msg
	if strings.Contains(msg, "unknown anchor") {
		return "a value begins with * and names an anchor that does not exist", `put a text that begins with * in quotes: "*"`
	}
	if strings.Contains(msg, "cannot decode") {
		msg = "a YAML tag does not fit its value"
	}
	line := sourceLine(data, e.Line)
	switch {
	case strings.Contains(msg, "alphabetic or numeric character") && strings.Contains(line, "*"):
		hint = `put a text that begins with * in quotes: "*"`
	case strings.Contains(msg, "alphabetic or numeric character") && strings.Contains(line, "&"):
		hint = "put a text that begins with & in quotes"
	case strings.Contains(line, "!$2"):
		hint = `a value that begins with ! needs quotes: "!$2y$..."`
	case strings.Contains(msg, "cannot start any token"):
		hint = "put a text that begins with @, % or ` in quotes"
	case strings.Contains(msg, "could not find expected ':'") || strings.Contains(msg, "mapping values are not allowed"):
		// The scanner stops where it can go no further, often on the next line.
		if hint = colonHint(sourceLine(data, e.Line-1)); hint == "" {
			hint = colonHint(line)
		}
	}
	return msg, hint
}

// colonHint returns the hint for a line with a known key and no space after its colon, or "".
func colonHint(line string) string {
	for _, s := range []*section{&serverSection, &tokenSection, &userSection, &entrySection, &matchSection} {
		for _, key := range s.keys {
			for rest := line; ; {
				before, after, ok := strings.Cut(rest, key+":")
				if !ok {
					break
				}
				starts := before == "" || strings.HasSuffix(before, " ") || strings.HasSuffix(before, "{") || strings.HasSuffix(before, ",")
				if starts && after != "" && !strings.ContainsAny(after[:1], " \t\r") {
					return fmt.Sprintf("put a space after the colon: %s: ...", key)
				}
				rest = after
			}
		}
	}
	return ""
}

// sourceLine returns a line of data, counted from 1.
func sourceLine(data []byte, number int) string {
	s := string(data)
	for ; number > 1; number-- {
		_, rest, ok := strings.Cut(s, "\n")
		if !ok {
			return ""
		}
		s = rest
	}
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// tabs warns of comments that stand behind a tab: YAML parsers disagree on some of them, and
// docker_auth's is among the strict ones.
func (w *walker) tabs(data []byte) {
	for at, line := bytes.IndexByte(data, '\t'), 1; at >= 0; {
		line += bytes.Count(data[:at], []byte("\n"))
		start := bytes.LastIndexByte(data[:at], '\n') + 1
		if before := data[start:at]; len(bytes.TrimLeft(before, " ")) == 0 && bytes.HasPrefix(bytes.TrimLeft(data[at:], " \t"), []byte("#")) {
			w.warn(&yaml.Node{Line: line, Column: at - start + 1}, Problem{Code: CodeTab,
				Msg: "a tab stands before the comment, which docker_auth's parser refuses in some places", Hint: "indent with spaces"})
		}
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return
		}
		// On to the next line with a tab.
		data, line = data[at+end+1:], line+1
		at = bytes.IndexByte(data, '\t')
	}
}

// file walks the whole document.
func (w *walker) file(root *yaml.Node) {
	start := &yaml.Node{Line: 1, Column: 1}
	if root == nil || isNull(root) {
		w.problem(start, Problem{Code: CodeEmptyFile, Msg: "the file is empty, expected the sections server, token, users and acl"})
		return
	}
	whole := subject{format: "the file"}
	if !w.mapping(root, whole, "a map with the sections server, token, users and acl", &topSection) {
		return
	}
	sections := w.pairs(root, whole, true, nil)
	present := func(name string) (pair, bool) {
		for _, p := range sections {
			if p.name == name {
				return p, true
			}
		}
		return pair{}, false
	}
	meant := map[string]bool{}
	for _, p := range sections {
		switch p.name {
		case "server", "token", usersKey, aclKey, extrasKey:
		default:
			if known, ok := external(p.name); ok {
				w.external(p, known)
			} else if strings.HasPrefix(p.name, "x-") && nearest(p.name, topSection.keys) == "" {
				w.warn(p.key, Problem{Code: CodeUnknownKey, Msg: fmt.Sprintf("key %q is not read by anything here", maskedKey(p.name))})
			} else {
				meant[w.unknown(p, &topSection)] = true
			}
		}
	}
	// Our own settings first: they decide what the sections may hold.
	if p, ok := present(extrasKey); ok {
		w.extras(p)
	}
	for _, s := range []struct {
		name string
		walk func(pair)
	}{{"server", w.server}, {"token", w.token}} {
		if p, ok := present(s.name); ok {
			s.walk(p)
		} else if !meant[s.name] {
			w.problem(start, Problem{Code: CodeMissingKey, Msg: fmt.Sprintf("there is no section %q", s.name)})
		}
	}
	if p, ok := present(usersKey); ok {
		w.users(p)
	} else if !w.f.HasExternalLogin() && !meant[usersKey] {
		w.problem(start, Problem{Code: CodeMissingUsers, Msg: `there are neither "users" nor an external login: nobody could log in`,
			Hint: "users: {} lets nobody in on purpose"})
	}
	if p, ok := present(aclKey); ok {
		w.acl(p)
	} else if len(w.f.ExternalRules()) == 0 && !meant[aclKey] {
		w.problem(start, Problem{Code: CodeMissingACL, Msg: `there is neither "acl" nor an external section with rules: nothing would be allowed`,
			Hint: "acl: [] allows nothing on purpose"})
	}
	w.crossChecks()
}

// crossChecks looks at what belongs together across sections.
func (w *walker) crossChecks() {
	f := w.f
	if w.sawServer && w.sawToken {
		if cert, key := f.SigningPair(); cert == "" && key == "" && !w.reported(CodeBadValue, "certificate and key") {
			at := &yaml.Node{Line: f.Token.Pos.Line, Column: f.Token.Pos.Column}
			w.problem(at, Problem{Code: CodeMissingKey, Msg: "there is no certificate and key to sign tokens with, neither in token nor in server",
				Hint: "token: {certificate: PATH, key: PATH}"})
		}
	}
	if f.Server.RealIPHeader != "" && !f.Extras.HasTrustedProxies {
		pos := f.Position("server", "real_ip_header")
		w.warn(&yaml.Node{Line: pos.Line, Column: pos.Column}, Problem{Code: CodeForgeableAddress,
			Msg:  fmt.Sprintf("server.real_ip_header: every client can send its own %s, and so choose its address", f.Server.RealIPHeader),
			Hint: extrasKey + ": {trusted_proxies: [private]} believes only your proxy"})
	}
	if f.Server.RealIPHeader == "" && f.Extras.HasTrustedProxies {
		pos := f.Position(extrasKey, "trusted_proxies")
		w.warn(&yaml.Node{Line: pos.Line, Column: pos.Column}, Problem{Code: CodeSetting,
			Msg: "trusted_proxies has no effect without server.real_ip_header"})
	}
	for i := range f.Users {
		if facts, ok := f.Extras.Users[f.Users[i].Name]; ok {
			f.Users[i].Expires, f.Users[i].Robot = facts.Expires, facts.Robot
		}
	}
	for name, facts := range f.Extras.Users {
		if _, ok := f.User(name); !ok && !f.HasExternalLogin() {
			w.warn(&yaml.Node{Line: facts.Pos.Line, Column: facts.Pos.Column}, Problem{Code: CodeUnknownUserFacts,
				Msg: fmt.Sprintf("%s.users: there is no user %q", extrasKey, name)})
		}
	}
}

// reported reports whether a problem of that code and text was found already.
func (w *walker) reported(code, text string) bool {
	for _, p := range w.problems {
		if p.Code == code && strings.Contains(p.Msg, text) {
			return true
		}
	}
	return false
}

// required reports a missing key of a section.
func (w *walker) required(p pair, s *section, key, why string) {
	w.problem(p.key, Problem{Code: CodeMissingKey, Msg: fmt.Sprintf("%s.%s is missing, expected %s", s.where, key, why)})
}

func (w *walker) token(p pair) {
	t := &w.f.Token
	t.Pos = w.pos(p.key)
	val := w.deref(p.val)
	s := subject{format: "token"}
	if !w.mapping(val, s, "a map with issuer and expiration", &tokenSection) {
		return
	}
	w.sawToken = true
	meant := map[string]bool{}
	pairs := w.pairs(val, s, true, nil)
	for _, k := range pairs {
		switch k.name {
		case "issuer":
			t.Issuer = w.text(k.val, subject{format: "token.issuer"})
			if strings.ContainsFunc(t.Issuer, isControl) {
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("token.issuer: %q has a control character", t.Issuer)})
			}
		case "expiration":
			seconds, ok := w.integer(k.val, subject{format: "token.expiration"})
			meant["expiration"] = !isNull(w.deref(k.val))
			if ok {
				t.Expiration = w.lifetime(k.val, "token.expiration", seconds)
			}
		case "certificate":
			t.Certificate = w.text(k.val, subject{format: "token.certificate"})
		case "key":
			t.Key = w.text(k.val, subject{format: "token.key"})
		case "disable_legacy_key_id":
			t.DisableLegacyKeyID = w.boolean(k.val, subject{format: "token.disable_legacy_key_id"})
		default:
			meant[w.unknown(k, &tokenSection)] = true
		}
	}
	if t.Issuer == "" && !meant["issuer"] && !w.mistyped(pairs, "issuer") {
		w.required(p, &tokenSection, "issuer", "the name that the registry has as issuer")
	}
	if t.Expiration == 0 && !meant["expiration"] {
		w.required(p, &tokenSection, "expiration", "the tokens' lifetime in seconds")
	}
	w.both(pairs, "token", t.Certificate, t.Key, meant)
}

// mistyped reports whether a key is there with a value of a wrong type, which was reported then.
func (w *walker) mistyped(pairs []pair, name string) bool {
	for _, p := range pairs {
		if p.name == name {
			return w.deref(p.val).Kind != yaml.ScalarNode
		}
	}
	return false
}

// both reports one half of a certificate and key.
func (w *walker) both(pairs []pair, where, certificate, key string, meant map[string]bool) {
	if (certificate == "") == (key == "") || meant["certificate"] || meant["key"] {
		return
	}
	have, lack := "certificate", "key"
	if certificate == "" {
		have, lack = lack, have
	}
	if w.mistyped(pairs, lack) {
		return
	}
	for _, p := range pairs {
		if p.name == have {
			w.problem(p.key, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s.%s is set but %s.%s is not: certificate and key belong together", where, have, where, lack)})
		}
	}
}

func isControl(r rune) bool {
	return r < 0x20 || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029'
}

func (w *walker) users(p pair) {
	val := w.deref(p.val)
	s := subject{format: usersKey, secret: true}
	if isNull(val) {
		w.problem(p.key, Problem{Code: CodeMissingUsers, Msg: "users has no value, expected a map of user names", Hint: "users: {} lets nobody in on purpose"})
		return
	}
	if !w.mapping(val, s, `a map of user names, as in {alice: {password: "$2y$..."}}`, nil) {
		return
	}
	f := w.f
	f.HasUsers = true
	list, index := w.index(val, s, false, nil)
	f.Users = make([]User, len(list))
	for i := range list {
		w.user(&f.Users[i], list[i])
	}
	if index == nil {
		index = make(map[string]int, len(list))
		for i, u := range list {
			index[u.name] = i
		}
	}
	f.byName = index
}

func (w *walker) user(u *User, p pair) {
	u.Name = p.name
	u.Pos = w.pos(p.key)
	if u.Name != "" {
		if reason := NameProblem(u.Name); reason != "" {
			w.warn(p.key, Problem{Code: CodeUnusualName, Msg: fmt.Sprintf("unusual user name %q: %s", u.Name, reason)})
		}
	}
	val := w.deref(p.val)
	s := subject{format: "user %q", arg: u.Name, secret: true}
	if isNull(val) {
		hint := `expected {password: "$2y$..."}`
		if u.Name == "" {
			hint = `the anonymous account is let in by "": {}`
		}
		w.problem(p.key, Problem{Code: CodeNullUser, Msg: fmt.Sprintf("user %q has no value", u.Name), Hint: hint})
		return
	}
	if !w.mapping(val, s, `a map, as in {password: "$2y$...", labels: {team: [backend]}}`, &userSection) {
		return
	}
	var buf [4]pair
	meant := false
	for _, k := range w.pairs(val, s, true, buf[:]) {
		switch k.name {
		case "password":
			meant = true
			w.password(u, k)
		case "labels":
			w.labels(u, k)
		default:
			meant = w.unknown(k, &userSection) == "password" || meant
		}
	}
	if !meant && u.Name != "" && !w.f.Extras.AllowPasswordless {
		w.problem(p.key, Problem{Code: CodeNoPassword, Msg: fmt.Sprintf("user %q has no password: any password would be let in", u.Name),
			Hint: fmt.Sprintf("add one (regctl-setup user passwd %s), or allow it with %s: {allow_passwordless: true}", shellWord(u.Name), extrasKey)})
	}
}

// shellWord returns a name as it can be typed, or a placeholder.
func shellWord(name string) string {
	if NameProblem(name) != "" {
		return "NAME"
	}
	return name
}

func (w *walker) password(u *User, k pair) {
	val := w.deref(k.val)
	s := subject{format: "password of user %q", arg: u.Name, secret: true}
	if isNull(val) {
		w.problem(k.key, Problem{Code: CodeNoPassword, Msg: fmt.Sprintf("password of user %q has no value", u.Name),
			Hint: "write a bcrypt hash, as `htpasswd -nB NAME` prints it"})
		return
	}
	text, ok := w.scalar(k.val, s)
	if !ok {
		return
	}
	u.Hash = secret.New(text)
	u.HasPassword = true
	u.Disabled = strings.HasPrefix(text, "!")
	u.PasswordPos = w.pos(k.val)
	cost, err := HashCost(strings.TrimPrefix(text, "!"))
	switch {
	case err != nil:
		w.problem(k.val, Problem{Code: CodeBadHash, Msg: fmt.Sprintf("password of user %q: %v", u.Name, err)})
	case cost > MaxHashCost:
		w.problem(k.val, Problem{Code: CodeHashCost, Msg: fmt.Sprintf("password of user %q: bcrypt cost %d, at most %d is served", u.Name, cost, MaxHashCost),
			Hint: "each login would take the processor for seconds; set the password anew"})
	case cost < lowHashCost:
		w.warn(k.val, Problem{Code: CodeWeakHash, Msg: fmt.Sprintf("password of user %q: bcrypt cost %d, expected %d or more", u.Name, cost, lowHashCost)})
	}
}

func (w *walker) labels(u *User, k pair) {
	val := w.deref(k.val)
	s := subject{format: "labels of user %q", arg: u.Name}
	if isNull(val) {
		w.problem(k.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("labels of user %q has no value, expected a map", u.Name), Hint: "remove the line, or write labels: {}"})
		return
	}
	if !w.mapping(val, s, "a map of lists, as in {team: [backend]}", nil) {
		return
	}
	var buf [4]pair
	pairs := w.pairs(val, s, false, buf[:])
	if len(pairs) == 0 {
		return
	}
	u.Labels = make([]Label, 0, len(pairs))
	for _, l := range pairs {
		ls := subject{format: "label %q of user %q", arg: l.name, more: u.Name}
		if isNull(w.deref(l.val)) {
			w.problem(l.key, Problem{Code: CodeWrongType, Msg: fmt.Sprintf("%s: expected a list, found nothing", ls),
				Hint: "labels are lists: " + l.name + ": [VALUE]"})
			continue
		}
		hint := ""
		if lv := w.deref(l.val); lv.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("labels are lists: %s: [%s]", maskedKey(l.name), maskedKey(lv.Value))
		}
		if values, ok := w.list(l.val, ls, hint); ok {
			u.Labels = append(u.Labels, Label{Key: l.name, Values: values})
		}
	}
}

func (w *walker) acl(p pair) {
	val := w.deref(p.val)
	s := subject{format: aclKey}
	switch {
	case isNull(val):
		w.problem(p.key, Problem{Code: CodeMissingACL, Msg: "acl has no value, expected a list of entries", Hint: "acl: [] allows nothing on purpose"})
		return
	case !w.untagged(val, s):
		return
	case val.Kind != yaml.SequenceNode:
		w.wrongType(val, s, "a list of entries, each {match: {...}, actions: [...]}", "begin each entry with a dash: - match: ...")
		return
	}
	w.f.HasACL = true
	w.f.ACL = make([]acl.Entry, len(val.Content))
	for i, n := range val.Content {
		w.entry(&w.f.ACL[i], n)
	}
}

func (w *walker) entry(e *acl.Entry, at *yaml.Node) {
	e.Pos = w.pos(at)
	n := w.deref(at)
	s := subject{format: "entry"}
	if isNull(n) {
		w.problem(at, Problem{Code: CodeMissingMatch, Msg: "the entry is empty, expected {match: {...}, actions: [...]}", Hint: "remove the dash"})
		return
	}
	if !w.mapping(n, s, "a map, as in {match: {...}, actions: [...]}", &entrySection) {
		return
	}
	var buf [4]pair
	match, actions := false, false
	for _, k := range w.pairs(n, s, true, buf[:]) {
		switch k.name {
		case "match":
			if !isNull(w.deref(k.val)) {
				match = true
				w.match(&e.Match, k)
			}
		case "actions":
			if val := w.deref(k.val); !isNull(val) {
				actions = true
				hint := ""
				if val.Kind == yaml.ScalarNode {
					hint = fmt.Sprintf("actions: [%q]", maskedKey(val.Value))
				}
				e.Actions, _ = w.list(k.val, subject{format: "actions"}, hint)
			}
		case "comment":
			e.Comment = w.text(k.val, subject{format: "comment"})
		default:
			switch w.unknown(k, &entrySection) {
			case "match":
				match = true
			case "actions":
				actions = true
			}
		}
	}
	if !match {
		w.problem(at, Problem{Code: CodeMissingMatch, Msg: "the entry has no match: docker_auth dies of it", Hint: "match: {} is for everybody and everything"})
	}
	if !actions {
		w.problem(at, Problem{Code: CodeMissingActions, Msg: "the entry has no actions: docker_auth drops the connection when it is reached", Hint: "actions: [] denies"})
	}
}

func (w *walker) match(m *acl.Match, p pair) {
	val := w.deref(p.val)
	s := subject{format: "match"}
	if !w.mapping(val, s, "a map, as in {account: alice, name: \"alice/*\"}", &matchSection) {
		return
	}
	var buf [6]pair
	for _, k := range w.pairs(val, s, true, buf[:]) {
		var field **string
		switch k.name {
		case "account":
			field = &m.Account
		case "type":
			field = &m.Type
		case "name":
			field = &m.Name
		case "service":
			field = &m.Service
		case "ip":
			field = &m.IP
		case "labels":
			w.matchLabels(m, k)
			continue
		default:
			w.unknown(k, &matchSection)
			continue
		}
		if text, ok := w.pattern(k, subject{format: "match." + k.name}); ok {
			*field = &text
		}
	}
}

// pattern reads a pattern of match. A field without a value would match everything.
func (w *walker) pattern(k pair, s subject) (string, bool) {
	switch val := w.deref(k.val); {
	case isNull(val):
		p := Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value, and so matches everything", s), Hint: "remove the line, or write the pattern"}
		switch {
		case s.arg != "": // a label: docker_auth reads a null as the empty pattern
			p.Msg = fmt.Sprintf("%s has no value, expected a pattern", s)
		case k.name == "account":
			p.Hint = `the anonymous account is written ""`
		}
		w.problem(k.key, p)
		return "", false
	case val.Kind == yaml.SequenceNode:
		if w.untagged(val, s) {
			hint := `a regexp takes one of several: "/^(a|b)$/"`
			if k.name == "ip" && s.arg == "" {
				hint = "write one entry for each network"
			}
			w.wrongType(k.val, s, "one pattern", hint)
		}
		return "", false
	}
	return w.scalar(k.val, s)
}

func (w *walker) matchLabels(m *acl.Match, p pair) {
	val := w.deref(p.val)
	s := subject{format: "match.labels"}
	if isNull(val) {
		w.problem(p.key, Problem{Code: CodeNullField, Msg: "match.labels has no value, and so matches everybody", Hint: "remove the line, or write labels: {team: backend}"})
		return
	}
	if !w.mapping(val, s, "a map of patterns, as in {team: backend}", nil) {
		return
	}
	var buf [4]pair
	pairs := w.pairs(val, s, false, buf[:])
	if len(pairs) == 0 {
		return
	}
	m.Labels = make([]acl.LabelMatch, 0, len(pairs))
	for _, k := range pairs {
		if text, ok := w.pattern(k, subject{format: "match.labels.%q", arg: k.name}); ok {
			m.Labels = append(m.Labels, acl.LabelMatch{Key: k.name, Pattern: text})
		}
	}
}

// compile builds the policy, or returns the faults of the patterns.
func (f *File) compile(w *walker) (*acl.Policy, []Problem) {
	policy, err := acl.Compile(f.ACL, acl.Options{LiteralLabels: f.Extras.LiteralLabels})
	if err == nil {
		return policy, nil
	}
	var faults acl.Errors
	if !errors.As(err, &faults) {
		pos := f.Position(aclKey)
		return nil, []Problem{{File: f.Path, Line: pos.Line, Column: pos.Column, Code: CodeBadPattern, Msg: err.Error()}}
	}
	items := f.entryNodes()
	quiet := &walker{path: f.Path, f: f}
	for _, e := range faults {
		if errors.Is(e.Err, acl.ErrNoActions) {
			continue // the walk has reported it
		}
		at := &yaml.Node{Line: 1, Column: 1}
		label, isLabel := strings.CutPrefix(e.Field, "labels.")
		if e.Entry >= 0 && e.Entry < len(items) {
			at = quiet.fieldNode(items[e.Entry], e.Field, label, isLabel)
		}
		code, kind := CodeBadGlob, "glob"
		switch {
		case e.Field == "ip":
			quiet.problem(at, Problem{Code: CodeBadCIDR, Msg: fmt.Sprintf("match.ip: %v", e.Err)})
			continue
		case len(e.Pattern) > 2 && e.Pattern[0] == '/' && e.Pattern[len(e.Pattern)-1] == '/':
			code, kind = CodeBadRegexp, "regexp"
		}
		where := "match." + e.Field
		if isLabel {
			where = fmt.Sprintf("match.labels.%q", label)
		}
		quiet.problem(at, Problem{Code: code, Msg: fmt.Sprintf("%s: bad %s %q: %v", where, kind, e.Pattern, e.Err)})
	}
	w.dropped += quiet.dropped
	return nil, quiet.problems
}

// entryNodes returns the nodes of the ACL's entries, in order.
func (f *File) entryNodes() []*yaml.Node {
	if f.doc == nil || f.doc.Root() == nil {
		return nil
	}
	w := &walker{path: f.Path}
	for _, p := range w.pairs(f.doc.Root(), subject{}, true, nil) {
		if p.name == aclKey {
			return w.deref(p.val).Content
		}
	}
	return nil
}

// fieldNode returns the node of a match field of an entry, or the entry's own.
func (w *walker) fieldNode(entry *yaml.Node, field, label string, isLabel bool) *yaml.Node {
	find := func(n *yaml.Node, name string, deep bool) *yaml.Node {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		quiet := &walker{path: w.path}
		for _, p := range quiet.pairs(n, subject{}, deep, nil) {
			if p.name == name {
				return quiet.deref(p.val)
			}
		}
		return nil
	}
	quiet := &walker{}
	path := []string{"match", field}
	if isLabel {
		path = []string{"match", "labels", label}
	}
	n := quiet.deref(entry)
	for i, name := range path {
		if n = find(n, name, i < 2); n == nil {
			return entry
		}
	}
	return n
}
