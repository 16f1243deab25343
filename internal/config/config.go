// Package config reads the auth config of docker_auth (auth-server.yml), reports everything that is
// wrong with it, and edits it by intent.
//
// The file has the sections server, token, users and acl, the external sections of docker_auth
// (logins and rules kept elsewhere), and our own settings under x-regctl-setup, which docker_auth
// ignores. The meaning of every key is docker_auth's: scalars decode as its decoder (yaml.v2) does,
// so a user name 123 or a label value yes is the text "123" or "yes". What docker_auth lets pass in
// silence, and what opens or breaks something, is a problem here: unknown and repeated keys, entries
// without match or actions, users without a password, malformed hashes and patterns.
//
// Parse never stops at the first problem. It returns all of them, sorted by position, each with
// the file's line and column, what was found and what was expected; none of them repeats a
// password or a hash. A file with problems must not be served; it still has a typed view, so that
// it can be shown and mended.
//
// Edits take the file and return its new bytes: all text that an edit does not concern stays as it
// is, byte for byte. Each result is parsed again and compared before it is returned: it holds
// exactly the intended change.
//
// Our settings, all optional:
//
//	x-regctl-setup:
//	  x5c: auto | always | never            default auto
//	  allow_passwordless: bool              serve named users without a password
//	  literal_labels: bool                  label values and captures are no patterns
//	  allow_readable_key: bool              accept a key file that others can read
//	  trusted_proxies: [CIDR | ADDRESS | private, ...]
//	  services: [NAME, ...]                 audiences that are signed; absent: any
//	  users: {NAME: {expires: DATE | TIME, robot: bool}}
//	  lint: {ignore: [RULE | {rule: RULE, reason: TEXT}, ...]}
//	  limits: {LIMIT: NUMBER | DURATION}    the fields of Limits, in snake case
//	  expiration: {pull: DURATION, push: DURATION}
//	  token_reuse: bool                     default true: hand a token out again that would say the same
//	  rotate_signing_key: DURATION           at least 1h
//	  refresh_tokens: bool | {lifetime: DURATION, path: FOLDER}
//	  password_cache: DURATION              default 5m; 0: never
//	  audit: best-effort | required | off   default best-effort, or a map with mode and the rest (see [Audit])
//	  metrics: {listen: HOST:PORT | off}    default 127.0.0.1:9101
//
// A DURATION is a number of seconds, or a number with a unit (ms, s, m, h, d); a DATE is the
// instant at which that day begins in UTC.
//
// Example:
//
//	f, problems := config.Parse("auth-server.yml", data)
//	if len(problems) > 0 {
//		return problems
//	}
//	data, err := f.AddUser(config.NewUser{Name: "alice", Hash: hash})
package config

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// MaxFileSize is the largest auth config that Parse reads, in bytes (64 MiB).
const MaxFileSize = 64 << 20

// File is a parsed auth config. Its exported fields are the typed view; changing them changes
// nothing else. It is safe for concurrent readers.
type File struct {
	// Path is the file's name as given to Parse, used in positions.
	Path string
	// Server and Token are the sections of those names.
	Server Server
	Token  Token
	// Users are the static users in the file's order. HasUsers tells an empty section from none.
	Users    []User
	HasUsers bool
	// ACL are the entries in the file's order, also those with problems, so that an index here is
	// the index in the file. HasACL tells an empty list from none.
	ACL    []acl.Entry
	HasACL bool
	// Extras are the settings under x-regctl-setup, with their defaults where absent.
	Extras Extras
	// Sections are the external sections that are present, in the file's order.
	Sections []Section
	// Warnings are what a careful reader should know, and what stops nothing.
	Warnings []Problem

	doc      *yamledit.Document
	problems Problems
	byName   map[string]int // name -> index in Users; the first of duplicates
	faults   []Problem      // of the patterns of the rules; part of problems
	compiled sync.Once      // guards policy
	policy   *acl.Policy
}

// Server is the section of that name: where and how the token server listens.
type Server struct {
	Pos acl.Pos // of the key "server"; zero when the section is absent
	// Addr is host:port, or a path when Net is "unix".
	Addr string
	// Net is "tcp" (the default, also when the key is absent) or "unix".
	Net string
	// PathPrefix goes before /auth; empty or beginning with a slash.
	PathPrefix string
	// RealIPHeader names the header that holds the client's address; empty: the connection's peer.
	RealIPHeader string
	// RealIPPos picks the address in that header: 0 is the leftmost, -1 the rightmost.
	RealIPPos int
	// Certificate and Key are paths of a PEM pair, as written; both or none are set.
	Certificate string
	Key         string
	// HSTS asks for the Strict-Transport-Security header.
	HSTS bool
	// TLSMinVersion is a version of crypto/tls, 0 when not set.
	TLSMinVersion uint16
	// TLSCurvePreferences and TLSCipherSuites are ids of crypto/tls, nil when not set.
	TLSCurvePreferences []uint16
	TLSCipherSuites     []uint16
}

// Token is the section of that name: what goes into the tokens and who signs them.
type Token struct {
	Pos acl.Pos // of the key "token"; zero when the section is absent
	// Issuer is the claim iss and the realm of the Basic challenge.
	Issuer string
	// Expiration is the tokens' lifetime, in whole seconds.
	Expiration time.Duration
	// Certificate and Key are paths of the signing pair, as written; both or none are set. With
	// none, the server's pair signs.
	Certificate string
	Key         string
	// DisableLegacyKeyID makes kid the RFC 7638 thumbprint in place of the libtrust id.
	DisableLegacyKeyID bool
}

// SigningPair returns the paths of the certificate and key that sign tokens: the section's own, or
// else the server's.
func (f *File) SigningPair() (certificate, key string) {
	if f.Token.Certificate != "" || f.Token.Key != "" {
		return f.Token.Certificate, f.Token.Key
	}
	return f.Server.Certificate, f.Server.Key
}

// User is one static user.
type User struct {
	// Name is the account; "" is the anonymous one.
	Name string
	// Hash is the password's hash as the file has it, with the "!" before it when the user is
	// disabled, so that a comparison with it fails without further care.
	Hash secret.Text
	// HasPassword tells a user with a password key from one that is let in with any password.
	HasPassword bool
	// Disabled is set when the hash has a "!" before it.
	Disabled bool
	// Labels are the user's labels in the file's order; a key occurs once.
	Labels []Label
	// Expires is when the user stops being let in, in UTC; zero: never. Robot marks an account
	// that no person uses. Both come from x-regctl-setup.users.
	Expires time.Time
	Robot   bool
	// Pos is where the name stands, PasswordPos where the hash does (zero without one).
	Pos         acl.Pos
	PasswordPos acl.Pos
}

// Label is one label of a user with its values in the file's order.
type Label struct {
	Key    string
	Values []string
}

// LabelMap returns the labels as a new map, the form that requests carry; nil when there are none.
func (u *User) LabelMap() map[string][]string {
	if len(u.Labels) == 0 {
		return nil
	}
	m := make(map[string][]string, len(u.Labels))
	for _, l := range u.Labels {
		m[l.Key] = l.Values
	}
	return m
}

// Label returns the values of the label key; nil when the user has none.
func (u *User) Label(key string) []string {
	for _, l := range u.Labels {
		if l.Key == key {
			return l.Values
		}
	}
	return nil
}

// User returns the user of that name; false when the file has none. Of duplicates, which are a
// problem, it is the first.
func (f *File) User(name string) (*User, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.Users[i], true
}

// Bytes returns the text that the file was read from. It must not be changed.
func (f *File) Bytes() []byte {
	if f.doc == nil {
		return nil
	}
	return f.doc.Bytes()
}

// Detach drops the file's text and its YAML nodes, which take several times the memory of the
// typed view, for a program that keeps the file and neither edits nor shows it: edits then
// fail, Bytes is nil, and [File.Position] knows no keys. It must not be called while others
// read f.
func (f *File) Detach() {
	_, _ = f.Policy() // compiled while the text is there
	f.doc = nil
}

// Problems returns what Parse returned beside the File.
func (f *File) Problems() Problems { return f.problems }

// Policy returns the compiled rules. It fails with the file's problems when there are any: rules
// with a fault in them may allow more than was meant.
func (f *File) Policy() (*acl.Policy, error) {
	if len(f.problems) > 0 {
		return nil, f.problems
	}
	f.compiled.Do(func() { f.policy, _ = f.compile(&walker{}) })
	if f.policy == nil { // the patterns were good when the file was read, or edited
		return nil, fmt.Errorf("%s: the rules do not compile", f.Path)
	}
	return f.policy, nil
}

// Extras are the settings under x-regctl-setup.
type Extras struct {
	Pos acl.Pos // of the key; zero when the section is absent
	// X5C is "auto" (default), "always" or "never".
	X5C string
	// AllowPasswordless serves named users without a password as docker_auth does.
	AllowPasswordless bool
	// LiteralLabels makes label values and capture groups plain text in patterns.
	LiteralLabels bool
	// AllowReadableKey accepts a key file that group or others can read.
	AllowReadableKey bool
	// TrustedProxies are the peers whose RealIPHeader counts; the word "private" is expanded to
	// the private, loopback and unique local ranges. HasTrustedProxies tells an empty list, which
	// trusts nobody, from an absent one.
	TrustedProxies    []netip.Prefix
	HasTrustedProxies bool
	// Services are the audiences that tokens are signed for; nil: any.
	Services []string
	// Users are the facts kept for users, by name.
	Users map[string]UserFacts
	// LintIgnore are the lint rules that are switched off.
	LintIgnore []LintIgnore
	// Limits of the token server.
	Limits Limits
	// PullExpiration and PushExpiration replace Token.Expiration for tokens that only pull and
	// for all others; zero: not set.
	PullExpiration time.Duration
	PushExpiration time.Duration
	// RefreshTokens is nil when they are off.
	RefreshTokens *RefreshTokens
	// RotateSigningKey is after what time the server makes itself a new signing key; zero:
	// never.
	RotateSigningKey time.Duration
	// TokenReuse lets a token that would say the same be handed out again for a while.
	TokenReuse bool
	// PasswordCache is how long a successful password check is remembered; zero: never.
	PasswordCache time.Duration
	// Audit says how the audit log is kept.
	Audit Audit
	// Metrics says where the token server shows its metrics.
	Metrics Metrics
}

// DefaultMetricsListen is where metrics are shown unless the config says otherwise: on the
// machine itself.
const DefaultMetricsListen = "127.0.0.1:9101"

// Metrics are the settings of the metrics listener.
type Metrics struct {
	// Listen is host:port; "" shows none. Given tells whether the config says so itself.
	Listen string
	Given  bool
}

// UserFacts is what is kept about a user beside docker_auth's own keys.
type UserFacts struct {
	Expires time.Time // UTC; zero: never
	Robot   bool
	Pos     acl.Pos // of the name
}

// LintIgnore switches one lint rule off.
type LintIgnore struct {
	Rule   string
	Reason string // may be empty
	Pos    acl.Pos
}

// RefreshTokens are the settings of refresh tokens, which are off by default.
type RefreshTokens struct {
	Lifetime time.Duration // zero: until revoked
	// Path is the folder that they are kept in, relative to the deployment.
	Path string
}

// DefaultRefreshPath is the folder of refresh tokens where the file names none.
const DefaultRefreshPath = "state/refresh"

// Limits bound what a request and a client may cost. Sizes are in bytes.
type Limits struct {
	Body     int // of a request
	Header   int // of a request, with the request line
	Scopes   int // in a request
	Actions  int // in a scope
	Name     int // length of a resource's name
	User     int // length of a user name
	Password int // length of a password

	ReadHeaderTimeout time.Duration
	ReadTimeout       time.Duration
	WriteTimeout      time.Duration
	IdleTimeout       time.Duration

	Connections           int // open at once
	ConnectionsPerAddress int

	Bcrypt            int           // evaluations at once; 0: one less than the processors, at least 1
	BcryptQueue       time.Duration // longest wait for one of them
	FailuresPerUser   int           // wrong passwords a minute for one account from one address
	FailuresPerClient int           // wrong passwords a minute from one address

	Programs       int           // runs of external programs at once
	ProgramQueue   time.Duration // longest wait for one of them
	ProgramTimeout time.Duration // longest run
}

// DefaultLimits returns the limits of a config that sets none.
func DefaultLimits() Limits {
	return Limits{
		Body: 64 << 10, Header: 32 << 10, Scopes: 100, Actions: 16, Name: 255, User: 255, Password: 1024,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		Connections: 4096, ConnectionsPerAddress: 512,
		BcryptQueue: 2 * time.Second, FailuresPerUser: 10, FailuresPerClient: 20,
		Programs: 16, ProgramQueue: 2 * time.Second, ProgramTimeout: 10 * time.Second,
	}
}

// defaultExtras returns the settings of a file without x-regctl-setup.
func defaultExtras() Extras {
	return Extras{X5C: "auto", Limits: DefaultLimits(), TokenReuse: true, PasswordCache: 5 * time.Minute, Audit: DefaultAudit(), Metrics: Metrics{Listen: DefaultMetricsListen}}
}

// Section is an external section of the file: a login or rules that live elsewhere.
type Section struct {
	Name string
	// Login is set for sections that authenticate, unset for those that authorise.
	Login bool
	// Pos is where the key stands.
	Pos acl.Pos
	// Node is the section's value, aliases resolved at the top.
	Node *yaml.Node
	// Program is what ext_auth or ext_authz runs; nil in any other section.
	Program *Program
}

// Program is an external program as a section names it.
type Program struct {
	// Command is a path, or a name without a slash that is looked for in PATH.
	Command string
	// Args are the arguments behind it; no shell reads them.
	Args []string
	// Pos is where the command stands.
	Pos acl.Pos
}

// Section returns the external section of that name; false when the file has none.
func (f *File) Section(name string) (Section, bool) {
	for _, s := range f.Sections {
		if s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// HasExternalLogin reports whether accounts may exist that are not in Users.
func (f *File) HasExternalLogin() bool {
	for _, s := range f.Sections {
		if s.Login {
			return true
		}
	}
	return false
}

// ExternalRules returns the names of the sections that decide what no entry of the acl does; nil
// when the file has none.
func (f *File) ExternalRules() []string {
	var names []string
	for _, s := range f.Sections {
		if !s.Login {
			names = append(names, s.Name)
		}
	}
	return names
}

// Position returns where the value at a path of map keys stands, for messages about it: the key's
// own position, or that of the deepest key of the path that exists, or line 1.
func (f *File) Position(path ...string) acl.Pos {
	pos := acl.Pos{File: f.Path, Line: 1, Column: 1}
	if f.doc == nil {
		return pos
	}
	n := f.doc.Root()
next:
	for _, name := range path {
		for n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil || n.Kind != yaml.MappingNode {
			break
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.Value == name {
				pos.Line, pos.Column = key.Line, key.Column
				n = n.Content[i+1]
				continue next
			}
		}
		break
	}
	return pos
}
