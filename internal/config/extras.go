package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// extras reads x-regctl-setup. It is our own: whatever is not understood is a problem, also a key
// without a value.
func (w *walker) extras(p pair) {
	x := &w.f.Extras
	x.Pos = w.pos(p.key)
	val := w.deref(p.val)
	whole := subject{format: extrasKey}
	if !w.mapping(val, whole, "a map of settings", &extrasSection) {
		return
	}
	var rotate *yaml.Node
	for _, k := range w.pairs(val, whole, true, nil) {
		if !extrasSection.has(k.name) {
			w.unknown(k, &extrasSection)
			continue
		}
		s := subject{format: extrasKey + "." + k.name}
		if isNull(w.deref(k.val)) {
			w.problem(k.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", s), Hint: "remove the line, or write the value"})
			continue
		}
		switch k.name {
		case "x5c":
			if v := w.oneOf(k, s, "auto", "always", "never"); v != "" {
				x.X5C = v
			}
		case "audit":
			w.audit(k, s)
		case "allow_passwordless":
			x.AllowPasswordless = w.boolean(k.val, s)
		case "literal_labels":
			x.LiteralLabels = w.boolean(k.val, s)
		case "token_reuse":
			x.TokenReuse = w.boolean(k.val, s)
		case "allow_readable_key":
			x.AllowReadableKey = w.boolean(k.val, s)
		case "trusted_proxies":
			w.trustedProxies(k, s)
		case "services":
			w.services(k, s)
		case "users":
			w.facts(k, s)
		case "lint":
			w.lint(k)
		case "limits":
			w.limits(k, s)
		case "expiration":
			w.expirations(k, s)
		case "refresh_tokens":
			w.refreshTokens(k, s)
		case "metrics":
			w.metrics(k, s)
		case "rotate_signing_key":
			if d, ok := w.duration(k.val, s, time.Hour, maxSeconds*time.Second); ok {
				x.RotateSigningKey, rotate = d, k.key
			}
		case "password_cache":
			if d, ok := w.duration(k.val, s, 0, 24*time.Hour); ok {
				x.PasswordCache = d
			}
		}
	}
	if rotate != nil && x.X5C == "never" {
		w.problem(rotate, Problem{
			Code: CodeSetting, Msg: extrasKey + ".rotate_signing_key: with x5c: never no registry would take the new key's tokens",
			Hint: "remove x5c: never, or this setting",
		})
	}
}

// oneOf reads a word; "" when it is none of words, which is reported.
func (w *walker) oneOf(k pair, s subject, words ...string) string {
	text, ok := w.scalar(k.val, s)
	if !ok || slices.Contains(words, text) {
		return text
	}
	p := Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected %s, found %q", s, orList(words), maskedKey(text))}
	if near := nearest(strings.ToLower(strings.ReplaceAll(text, "_", "-")), words); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	w.problem(k.val, p)
	return ""
}

// orList writes "a, b or c".
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// PrivateRanges returns what "private" stands for in trusted_proxies: the private ranges of RFC 1918,
// unique local addresses of RFC 4193, and loopback.
func PrivateRanges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("::1/128"),
	}
}

func (w *walker) trustedProxies(k pair, s subject) {
	list, ok := w.networks(k, s, func(at *yaml.Node, p netip.Prefix) {
		if p.Bits() == 0 {
			w.warn(at, Problem{Code: CodeForgeableAddress, Msg: fmt.Sprintf("%s: %s is everybody: every client can choose its address", s, p)})
		}
	})
	if !ok {
		return
	}
	w.f.Extras.HasTrustedProxies, w.f.Extras.TrustedProxies = true, list
}

// networks reads a list of networks, addresses and the word "private", and calls judge with
// each network. It is false where the value is no list.
func (w *walker) networks(k pair, s subject, judge func(*yaml.Node, netip.Prefix)) (list []netip.Prefix, ok bool) {
	val := w.deref(k.val)
	hint := ""
	if val.Kind == yaml.ScalarNode {
		hint = fmt.Sprintf("%s: [%s]", k.name, maskedKey(val.Value))
	}
	texts, ok := w.list(k.val, s, hint)
	if !ok {
		return nil, false
	}
	for i, text := range texts {
		at := val
		if len(texts) == len(val.Content) {
			at = w.deref(val.Content[i])
		}
		if text == "private" {
			list = append(list, PrivateRanges()...)
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				w.problem(at, Problem{Code: CodeBadCIDR, Msg: fmt.Sprintf(`%s: expected a network as 10.0.0.0/8, an address or "private", found %q`, s, maskedKey(text))})
				continue
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if prefix.Addr().Is4In6() {
			if prefix.Bits() < 96 {
				w.problem(at, Problem{Code: CodeBadCIDR, Msg: fmt.Sprintf("%s: %q is wider than the IPv4 addresses that it maps", s, text)})
				continue
			}
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		judge(at, prefix)
		list = append(list, prefix.Masked())
	}
	return list, true
}

func (w *walker) services(k pair, s subject) {
	val := w.deref(k.val)
	hint := ""
	if val.Kind == yaml.ScalarNode {
		hint = fmt.Sprintf("services: [%q]", maskedKey(val.Value))
	}
	texts, ok := w.list(k.val, s, hint)
	if !ok {
		return
	}
	if len(texts) == 0 && len(val.Content) == 0 {
		w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: the list is empty, so that no token would be signed", s), Hint: "remove the line to sign for any service"})
		return
	}
	for i, text := range texts {
		if text == "" && len(texts) == len(val.Content) {
			w.problem(w.deref(val.Content[i]), Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: a service is empty", s)})
		}
	}
	w.f.Extras.Services = texts
}

func (w *walker) facts(k pair, s subject) {
	val := w.deref(k.val)
	if !w.mapping(val, s, "a map of user names, as in {alice: {expires: 2027-01-31}}", nil) {
		return
	}
	list := w.pairs(val, s, false, nil)
	all := make(map[string]UserFacts, len(list))
	for _, u := range list {
		facts := UserFacts{Pos: w.pos(u.key)}
		us := subject{format: extrasKey + ".users: user %q", arg: u.name}
		n := w.deref(u.val)
		if !w.mapping(n, us, "a map, as in {expires: 2027-01-31}", &factsSection) {
			continue
		}
		for _, f := range w.pairs(n, us, true, nil) {
			fs := subject{format: f.name + " of user %q", arg: u.name}
			if factsSection.has(f.name) && isNull(w.deref(f.val)) {
				w.problem(f.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", fs), Hint: "remove the line, or write the value"})
				continue
			}
			switch f.name {
			case "expires":
				text, ok := w.scalar(f.val, fs)
				if !ok {
					continue
				}
				at, err := parseTime(text)
				if err != nil {
					w.problem(f.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected a date (2027-01-31) or an RFC 3339 time, found %q", fs, maskedKey(text))})
					continue
				}
				facts.Expires = at
			case "robot":
				facts.Robot = w.boolean(f.val, fs)
			default:
				w.unknown(f, &factsSection)
			}
		}
		all[u.name] = facts
	}
	w.f.Extras.Users = all
}

// parseTime reads an expiry as the file holds it: a date, as which the day begins in UTC, or an
// RFC 3339 time.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, err
	}
	return t.UTC(), nil
}

// formatTime writes an expiry so that parseTime reads it back, to the second.
func formatTime(t time.Time) string {
	t = t.UTC().Truncate(time.Second)
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

func (w *walker) lint(k pair) {
	val := w.deref(k.val)
	if !w.mapping(val, subject{format: lintSection.where}, "a map, as in {ignore: [RULE]}", &lintSection) {
		return
	}
	for _, p := range w.pairs(val, subject{format: lintSection.where}, true, nil) {
		if p.name != "ignore" {
			w.unknown(p, &lintSection)
			continue
		}
		s := subject{format: ignoreSection.where}
		list := w.deref(p.val)
		if list.Kind != yaml.SequenceNode {
			w.wrongType(list, s, "a list of rules", "ignore: [RULE]")
			continue
		}
		for _, n := range list.Content {
			w.ignore(w.deref(n), s)
		}
	}
}

func (w *walker) ignore(n *yaml.Node, s subject) {
	entry := LintIgnore{Pos: w.pos(n)}
	switch {
	case n.Kind == yaml.MappingNode:
		for _, p := range w.pairs(n, s, true, nil) {
			switch p.name {
			case "rule":
				entry.Rule = w.text(p.val, subject{format: ignoreSection.where + ".rule"})
			case "reason":
				entry.Reason = w.text(p.val, subject{format: ignoreSection.where + ".reason"})
			default:
				w.unknown(p, &ignoreSection)
			}
		}
	case n.Kind == yaml.ScalarNode:
		entry.Rule, _ = w.scalar(n, s)
	default:
		w.wrongType(n, s, "the name of a rule, or {rule: NAME, reason: TEXT}", "")
		return
	}
	if entry.Rule == "" || strings.Trim(entry.Rule, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected the name of a lint rule, found %q", s, maskedKey(entry.Rule))})
		return
	}
	w.f.Extras.LintIgnore = append(w.f.Extras.LintIgnore, entry)
}

func (w *walker) limits(k pair, s subject) {
	val := w.deref(k.val)
	if !w.mapping(val, s, "a map of limits, as in {scopes: 200}", &limitsSection) {
		return
	}
	l := &w.f.Extras.Limits
	numbers := map[string]struct {
		to          *int
		least, most int
	}{
		"body":                    {&l.Body, 1 << 10, 1 << 30},
		"header":                  {&l.Header, 4 << 10, 1 << 24},
		"scopes":                  {&l.Scopes, 1, 100_000},
		"actions":                 {&l.Actions, 1, 10_000},
		"name":                    {&l.Name, 1, 1 << 20},
		"user":                    {&l.User, 1, 1 << 16},
		"password":                {&l.Password, 1, 1 << 20},
		"connections":             {&l.Connections, 1, 1 << 24},
		"connections_per_address": {&l.ConnectionsPerAddress, 1, 1 << 24},
		"bcrypt":                  {&l.Bcrypt, 0, 4096},
		"failures_per_user":       {&l.FailuresPerUser, 1, 1 << 30},
		"failures_per_client":     {&l.FailuresPerClient, 1, 1 << 30},
		"programs":                {&l.Programs, 1, 4096},
	}
	durations := map[string]*time.Duration{
		"read_header_timeout": &l.ReadHeaderTimeout, "read_timeout": &l.ReadTimeout, "write_timeout": &l.WriteTimeout,
		"idle_timeout": &l.IdleTimeout, "bcrypt_queue": &l.BcryptQueue,
		"program_queue": &l.ProgramQueue, "program_timeout": &l.ProgramTimeout,
	}
	for _, p := range w.pairs(val, s, true, nil) {
		ps := subject{format: limitsSection.where + "." + p.name}
		number, isNumber := numbers[p.name]
		duration, isDuration := durations[p.name]
		if (isNumber || isDuration) && isNull(w.deref(p.val)) {
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the value"})
			continue
		}
		switch {
		case isNumber:
			size := p.name == "body" || p.name == "header"
			if v, ok := w.size64(p.val, ps, size); ok {
				if v < int64(number.least) || v > int64(number.most) {
					w.problem(p.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected %d to %d, found %d", ps, number.least, number.most, v)})
					continue
				}
				*number.to = int(v)
			}
		case isDuration:
			if d, ok := w.duration(p.val, ps, time.Millisecond, 24*time.Hour); ok {
				*duration = d
			}
		default:
			w.unknown(p, &limitsSection)
		}
	}
}

// size64 reads a whole number; with bytes set also with a unit, as in 64KiB.
func (w *walker) size64(n *yaml.Node, s subject, bytes bool) (int64, bool) {
	if text, ok := w.deref(n), bytes; ok && text.Kind == yaml.ScalarNode {
		for unit, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
			if digits, found := strings.CutSuffix(text.Value, unit); found {
				if v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32); err == nil {
					return v * factor, true
				}
			}
		}
	}
	return w.integer(n, s)
}

// duration reads a length of time: a number of seconds, or a number with a unit (ms, s, m, h, d).
func (w *walker) duration(n *yaml.Node, s subject, least, most time.Duration) (time.Duration, bool) {
	val := w.deref(n)
	text, ok := w.scalar(n, s)
	if !ok {
		return 0, false
	}
	d, err := parseDuration(text, isPlain(val))
	if err != nil {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected a length of time as 300, 90s, 5m or 30d, found %q", s, maskedKey(text))})
		return 0, false
	}
	if d < least || d > most {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected %v to %v, found %v", s, least, most, d)})
		return 0, false
	}
	return d, true
}

func parseDuration(text string, number bool) (time.Duration, error) {
	if seconds, ok := parseInteger(text); ok && number {
		if seconds < 0 || seconds > maxSeconds {
			return 0, strconv.ErrRange
		}
		return time.Duration(seconds) * time.Second, nil
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

func (w *walker) expirations(k pair, s subject) {
	val := w.deref(k.val)
	if !w.mapping(val, s, "a map, as in {pull: 300, push: 3600}", &expirationSection) {
		return
	}
	for _, p := range w.pairs(val, s, true, nil) {
		var to *time.Duration
		switch p.name {
		case "pull":
			to = &w.f.Extras.PullExpiration
		case "push":
			to = &w.f.Extras.PushExpiration
		default:
			w.unknown(p, &expirationSection)
			continue
		}
		ps := subject{format: expirationSection.where + "." + p.name}
		if isNull(w.deref(p.val)) {
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the seconds"})
			continue
		}
		if d, ok := w.duration(p.val, ps, 0, maxSeconds*time.Second); ok {
			*to = w.lifetime(p.val, ps.format, int64(d/time.Second))
		}
	}
}

func (w *walker) refreshTokens(k pair, s subject) {
	val := w.deref(k.val)
	if val.Kind == yaml.ScalarNode {
		if w.boolean(k.val, s) {
			w.f.Extras.RefreshTokens = &RefreshTokens{Path: DefaultRefreshPath}
		}
		return
	}
	if !w.mapping(val, s, "true, false or a map, as in {lifetime: 90d}", &refreshSection) {
		return
	}
	tokens := &RefreshTokens{Path: DefaultRefreshPath}
	for _, p := range w.pairs(val, s, true, nil) {
		ps := subject{format: refreshSection.where + "." + p.name}
		switch {
		case !refreshSection.has(p.name):
			w.unknown(p, &refreshSection)
		case isNull(w.deref(p.val)):
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the value"})
		case p.name == "path":
			tokens.Path = w.filled(p.val, ps, tokens.Path)
		default:
			if d, ok := w.duration(p.val, ps, time.Minute, maxSeconds*time.Second); ok {
				tokens.Lifetime = d
			}
		}
	}
	w.f.Extras.RefreshTokens = tokens
}
