package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Setting describes one key for people.
type Setting struct {
	Key     string // with the keys below it, as in expiration: {pull, push}
	Default string // what holds without it
	Meaning string
}

// Settings describes the keys under x-regctl-setup, but limits.
func Settings() []Setting {
	d := defaultExtras()
	return []Setting{
		{"trusted_proxies", "none", "networks (or private) whose server.real_ip_header is believed; the rightmost address that is not one of them is the client. Without it the header works as in docker_auth, with a warning"},
		{"services", "any", "the audiences that tokens are signed for; others get 400"},
		{"x5c", d.X5C, "put the certificate into tokens: auto (not when it is out of date), always, never"},
		{"token_reuse", strconv.FormatBool(d.TokenReuse), "hand a token out again to the same account and address for the same access, while more than three quarters of its life are left; a reload forgets all of them"},
		{"password_cache", duration(d.PasswordCache), "how long a successful password check is remembered; 0 never. A changed, disabled or removed user is out with the reload"},
		{"expiration: {pull, push}", "token.expiration", "lifetimes in seconds of tokens that only pull, and of all others"},
		{"allow_passwordless", strconv.FormatBool(d.AllowPasswordless), "serve named users without a password, who are let in with any"},
		{"literal_labels", strconv.FormatBool(d.LiteralLabels), "label values and captures in patterns are plain text, never pattern syntax"},
		{"allow_readable_key", strconv.FormatBool(d.AllowReadableKey), "accept a key file that group or others can read"},
		{"audit", d.Audit.Mode, "what happens when a decision can't be recorded: best-effort serves and counts, required answers 503, off records nothing; or a map with mode and the settings of docs/audit.md"},
		{"metrics: {listen}", d.Metrics.Listen, "where metrics are shown (HOST:PORT), or off; :9101 in a container"},
		{"users: {NAME: {expires, robot}}", "", "until when an account is let in; written by user add --expires"},
		{"refresh_tokens", "false", "give clients that ask for one (docker login does) a token in the place of the password: true, or {lifetime: 90d, path: state/refresh}; without a lifetime it is good until revoked"},
		{"rotate_signing_key", "never", "sign with a new key of the same type after this time, as 30d (at least 1h): issued in memory by the authority beside the signing key (ca.key, ca.pem), which the registry must trust"},
		{"lint: {ignore: [RULE]}", "", "lint rules that are switched off"},
	}
}

// LimitSettings describes the keys under x-regctl-setup.limits.
func LimitSettings() []Setting {
	d := DefaultLimits()
	number := strconv.Itoa
	return []Setting{
		{"body", size(d.Body), "of a form, in bytes; over it 413"},
		{"header", size(d.Header), "of the request line and header, in bytes; over it 431, or 413 for the query"},
		{"scopes", number(d.Scopes), "in a request; over it 400"},
		{"actions", number(d.Actions), "in a scope; over it 400"},
		{"name", number(d.Name), "bytes of a name, an action or a service; over it 400"},
		{"user", number(d.User), "bytes of a user name; over it 400"},
		{"password", number(d.Password), "bytes of a password; over it 400"},
		{"connections", number(d.Connections), "open at once; the oldest that say nothing are closed for new ones"},
		{"connections_per_address", number(d.ConnectionsPerAddress), "of one address that is no proxy"},
		{"read_header_timeout", duration(d.ReadHeaderTimeout), "then the connection is closed"},
		{"read_timeout", duration(d.ReadTimeout), "for the whole request"},
		{"write_timeout", duration(d.WriteTimeout), "for the answer"},
		{"idle_timeout", duration(d.IdleTimeout), "between requests"},
		{"bcrypt", "one less than the processors", "password checks at once"},
		{"bcrypt_queue", duration(d.BcryptQueue), "longest wait for a password check, then 503 with Retry-After"},
		{"failures_per_user", number(d.FailuresPerUser), "failed logins a minute for an account from an address, then 429 with Retry-After, before any hash is computed. A password that was right a short while ago is never refused"},
		{"failures_per_client", number(d.FailuresPerClient), "failed logins a minute from an address (IPv6 by /64), then 429"},
		{"programs", number(d.Programs), "runs of external programs at once"},
		{"program_queue", duration(d.ProgramQueue), "longest wait for one of them, then 503 with Retry-After"},
		{"program_timeout", duration(d.ProgramTimeout), "longest run; then the program is killed, and the answer is 500"},
	}
}

// size writes bytes as the file may have them.
func size(n int) string {
	if n%1024 == 0 {
		return fmt.Sprintf("%dKiB", n/1024)
	}
	return strconv.Itoa(n)
}

// duration writes a length of time as the file may have it.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}
