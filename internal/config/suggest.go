package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// section describes one kind of mapping in the file: its name in messages, the keys it may have,
// and what people write in their place.
type section struct {
	where      string // "server", "match": as in `unknown key "x" in match`
	keys       []string
	confusions map[string]string // lower-case wrong key -> what to write
}

// has reports whether key is one that the section knows.
func (s *section) has(key string) bool {
	for _, k := range s.keys {
		if k == key {
			return true
		}
	}
	return false
}

// The sections of the file. They are tables and never change.
var (
	topSection = section{
		where: "the file",
		keys: append([]string{"server", "token", "users", "acl", extrasKey},
			"google_auth", "github_auth", "oidc_auth", "gitlab_auth", "ldap_auth", "mongo_auth", "xorm_auth", "ext_auth", "plugin_authn",
			"acl_mongo", "acl_xorm", "ext_authz", "plugin_authz", "casbin_authz"),
		confusions: map[string]string{
			"rules": "acl", "acls": "acl", "user": "users", "accounts": "users", "tokens": "token", "auth": "token",
			"ldap": "ldap_auth", "oidc": "oidc_auth", "github": "github_auth", "gitlab": "gitlab_auth", "google": "google_auth",
			"xorm_authn": "xorm_auth", "xorm_authz": "acl_xorm", "mongo_authz": "acl_mongo", "ext_authn": "ext_auth",
			"plugin_auth": "plugin_authn", "regctl-setup": extrasKey, "regctl_setup": extrasKey,
		},
	}
	serverSection = section{
		where: "server",
		keys: []string{"addr", "net", "path_prefix", "real_ip_header", "real_ip_pos", "certificate", "key", "hsts",
			"tls_min_version", "tls_curve_preferences", "tls_cipher_suites", "letsencrypt"},
		confusions: map[string]string{
			"address": "addr", "listen": "addr", "port": "addr", "host": "addr", "bind": "addr", "network": "net",
			"cert": "certificate", "crt": "certificate", "tls_cert": "certificate", "tls_key": "key", "private_key": "key",
			"prefix": "path_prefix", "real_ip": "real_ip_header", "min_version": "tls_min_version",
			"trusted_proxies": extrasKey + ": {trusted_proxies: [...]} at the top of the file",
			"issuer":          "issuer in token", "expiration": "expiration in token",
		},
	}
	letsEncryptSection = section{where: "letsencrypt", keys: []string{"email", "host", "cache_dir"}}
	tokenSection       = section{
		where: "token",
		keys:  []string{"issuer", "expiration", "certificate", "key", "disable_legacy_key_id"},
		confusions: map[string]string{
			"expires": "expiration", "expire": "expiration", "expiry": "expiration", "ttl": "expiration", "lifetime": "expiration",
			"cert": "certificate", "crt": "certificate", "private_key": "key", "iss": "issuer",
			"service": extrasKey + ": {services: [...]} at the top of the file",
		},
	}
	userSection = section{
		where: "user",
		keys:  []string{"password", "labels"},
		confusions: map[string]string{
			"pass": "password", "passwd": "password", "pw": "password", "hash": "password", "password_hash": "password", "secret": "password",
			"label": "labels", "groups": "labels: {groups: [...]}", "group": "labels: {group: [...]}",
			"team": "labels: {team: [...]}", "teams": "labels: {teams: [...]}",
			"role": "labels: {role: [...]}", "roles": "labels: {roles: [...]}",
			"expires": extrasKey + ": {users: {NAME: {expires: ...}}} at the top of the file",
			"robot":   extrasKey + ": {users: {NAME: {robot: true}}} at the top of the file",
		},
	}
	entrySection = section{
		where: "entry",
		keys:  []string{"match", "actions", "comment"},
		confusions: map[string]string{
			"action": "actions", "permissions": "actions", "allow": "actions", "access": "actions", "grant": "actions",
			"deny": "actions: []", "matches": "match", "if": "match", "when": "match",
			"description": "comment", "note": "comment", "comments": "comment", "reason": "comment",
			"account": "match: {account: ...}", "type": "match: {type: ...}", "name": "match: {name: ...}",
			"service": "match: {service: ...}", "ip": "match: {ip: ...}", "labels": "match: {labels: {...}}",
			"user": "match: {account: ...}",
		},
	}
	matchSection = section{
		where: "match",
		keys:  []string{"account", "type", "name", "service", "ip", "labels"},
		confusions: map[string]string{
			"team": "labels: {team: ...}", "teams": "labels: {teams: ...}", "group": "labels: {group: ...}",
			"groups": "labels: {groups: ...}", "role": "labels: {role: ...}", "roles": "labels: {roles: ...}",
			"organization": "labels: {organization: ...}", "label": "labels",
			"user": "account", "users": "account", "username": "account", "login": "account", "accounts": "account",
			"repo": "name", "repository": "name", "repositories": "name", "image": "name", "images": "name", "names": "name", "path": "name",
			"address": "ip", "addr": "ip", "cidr": "ip", "client": "ip", "subnet": "ip", "kind": "type", "resource": "type",
			"registry": "service", "audience": "service",
			"actions": "actions beside match, not inside it", "action": "actions beside match, not inside it",
			"comment": "comment beside match, not inside it",
		},
	}
	extrasSection = section{
		where: extrasKey,
		keys: []string{"x5c", "allow_passwordless", "literal_labels", "trusted_proxies", "services", "users", "lint",
			"allow_readable_key", "limits", "expiration", "refresh_tokens", "rotate_signing_key", "token_reuse", "password_cache", "audit", "metrics"},
		confusions: map[string]string{
			"trusted_proxy": "trusted_proxies", "proxies": "trusted_proxies", "service": "services",
			"passwordless": "allow_passwordless", "ignore": "lint: {ignore: [...]}", "cache": "password_cache", "token_cache": "token_reuse", "reuse": "token_reuse", "rotate": "rotate_signing_key", "rotate_key": "rotate_signing_key",
			"prometheus": "metrics: {listen: ...}", "metrics_listen": "metrics: {listen: ...}",
		},
	}
	factsSection = section{
		where: extrasKey + ".users", keys: []string{"expires", "robot"},
		confusions: map[string]string{"expiry": "expires", "expiration": "expires", "expire": "expires", "labels": "labels in users"},
	}
	lintSection       = section{where: extrasKey + ".lint", keys: []string{"ignore"}}
	ignoreSection     = section{where: extrasKey + ".lint.ignore", keys: []string{"rule", "reason"}}
	expirationSection = section{where: extrasKey + ".expiration", keys: []string{"pull", "push"}}
	refreshSection    = section{where: extrasKey + ".refresh_tokens", keys: []string{"lifetime", "path"}, confusions: map[string]string{"expiration": "lifetime", "expires": "lifetime", "dir": "path", "file": "path", "folder": "path"}}
	auditSection      = section{
		where: extrasKey + ".audit",
		keys:  []string{"mode", "path", "fsync", "fsync_interval", "rotate_size", "rotate_age", "keep", "keep_size", "compress", "events"},
		confusions: map[string]string{
			"required": "mode: required", "dir": "path", "directory": "path", "file": "path", "folder": "path", "sync": "fsync",
			"max_size": "rotate_size", "max_age": "rotate_age", "retention": "keep", "gzip": "compress", "notifications": "events",
		},
	}
	auditEventsSection = section{
		where: extrasKey + ".audit.events", keys: []string{"address", "secret_file", "peers"},
		confusions: map[string]string{"addr": "address", "listen": "address", "secret": "secret_file", "allow": "peers", "from": "peers"},
	}
	metricsSection = section{
		where: extrasKey + ".metrics", keys: []string{"listen"},
		confusions: map[string]string{"addr": "listen", "address": "listen", "port": "listen: 127.0.0.1:PORT", "enabled": "listen: off"},
	}
	limitsSection = section{
		where: extrasKey + ".limits",
		keys: []string{"body", "header", "scopes", "actions", "name", "user", "password",
			"read_header_timeout", "read_timeout", "write_timeout", "idle_timeout", "connections", "connections_per_address",
			"bcrypt", "bcrypt_queue", "failures_per_user", "failures_per_client",
			"programs", "program_queue", "program_timeout"},
	}
)

// unknown reports a key that the section does not know, and returns the known key that was
// probably meant, or "".
func (w *walker) unknown(p pair, s *section) string {
	shown, hint, meant := s.explain(p.name)
	w.problem(p.key, Problem{Code: CodeUnknownKey, Msg: fmt.Sprintf("unknown key %q in %s", shown, s.where), Hint: hint})
	return meant
}

// explain returns an unknown key as it may be shown, what to write in its place, and the known key
// that was meant.
func (s *section) explain(name string) (shown, hint, meant string) {
	if before, _, ok := strings.Cut(name, ":"); ok {
		// Without a space after the colon, the value is part of the key: it may be a password.
		shown = before + ":…"
		if s.has(before) {
			return shown, fmt.Sprintf("put a space after the colon: %s: ...", before), before
		}
		name = before
	} else {
		shown = maskedKey(name)
	}
	lower := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if s.has(lower) {
		return shown, fmt.Sprintf("did you mean %q?", lower), lower
	}
	if to, ok := s.confusions[lower]; ok {
		key, _, _ := strings.Cut(to, ":")
		key, _, _ = strings.Cut(key, " ")
		if to == key {
			return shown, fmt.Sprintf("did you mean %q?", to), key
		}
		return shown, "did you mean " + to + "?", key
	}
	if to := nearest(lower, s.keys); to != "" {
		return shown, fmt.Sprintf("did you mean %q?", to), to
	}
	return shown, "expected one of " + strings.Join(s.keys, ", "), ""
}

// maskedKey returns a key for a message: shortened, and hidden when it is a hash.
func maskedKey(name string) string {
	if strings.HasPrefix(strings.TrimPrefix(name, "!"), "$") {
		return "$…"
	}
	const most = 40
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// nearest returns the word that s was probably meant to be: the one with the smallest edit
// distance, when that is small for the word's length and no other word is as near.
func nearest(s string, words []string) string {
	best, bestDistance, tie := "", 0, false
	for _, w := range words {
		allowed := 1 + min(len(w), len(s))/4
		d := distance(s, w, allowed)
		switch {
		case d > allowed:
		case best == "" || d < bestDistance:
			best, bestDistance, tie = w, d, false
		case d == bestDistance:
			tie = true
		}
	}
	if tie {
		return ""
	}
	return best
}

// distance returns the number of insertions, deletions, replacements and swaps of neighbours that
// turn a into b (optimal string alignment), or a number above most when it is more than that.
func distance(a, b string, most int) int {
	if d := len(a) - len(b); d > most || -d > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// missingSpace returns the hint for a text that was meant to be a map with one key, as in
// `match: account:"admin"`.
func missingSpace(n *yaml.Node, s *section) string {
	if n.Kind != yaml.ScalarNode || s == nil {
		return ""
	}
	before, _, ok := strings.Cut(n.Value, ":")
	if !ok || !s.has(before) {
		return ""
	}
	return fmt.Sprintf("put a space after the colon: %s: ...", before)
}
