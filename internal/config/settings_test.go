package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const settingsFile = `server:
  addr: ":5001"
token:
  issuer: 'one' # must be the registry's
  # Seconds.
  expiration: 3600
  certificate: a.pem
  key: a.key
x-regctl-setup:
  services: ['a', "b"] # registries
users:
  "alice":
    password: "$2y$10$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
acl:
  - match: {account: "alice"}
    actions: ["*"]
`

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit Edit
		want string // lines that differ
	}{
		{"issuer", SetIssuer("it's: #2"), "-  issuer: 'one' # must be the registry's\n+  issuer: 'it''s: #2' # must be the registry's\n"},
		{"same issuer", SetIssuer("one"), ""},
		{"lifetime", SetExpiration(30 * time.Minute), "-  expiration: 3600\n+  expiration: 1800\n"},
		{"same lifetime", SetExpiration(time.Hour), ""},
		{"another service", SetServices([]string{"c", "b"}), "-  services: ['a', \"b\"] # registries\n+  services: ['c', \"b\"] # registries\n"},
		{"one service less", SetServices([]string{"b"}), "-  services: ['a', \"b\"] # registries\n+  services: [\"b\"] # registries\n"},
		{"one service more", SetServices([]string{"a", "b", "c"}), "-  services: ['a', \"b\"] # registries\n+  services: ['a', \"b\", \"c\"] # registries\n"},
		{"same services", SetServices([]string{"a", "b"}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, []byte(settingsFile))
			next, err := f.Apply(tt.edit)
			if err != nil {
				t.Fatal(err)
			}
			if got := lineDiff(f.Bytes(), next.Bytes()); got != tt.want {
				t.Errorf("difference:\n%swant:\n%s", got, tt.want)
			}
		})
	}
}

func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]Edit{
		"empty issuer": SetIssuer(""),
		"no lifetime":  SetExpiration(0),
		"no service":   SetServices(nil),
		"no secret":    SetAuditEvents(&AuditEvents{Address: ":5002"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, []byte(settingsFile))
			if _, err := f.Apply(edit); !errors.Is(err, ErrBadEdit) {
				t.Errorf("error %v, want ErrBadEdit", err)
			}
		})
	}
}

// TestSetAuditEvents puts the listener into files that say more and less about the audit log,
// takes it out again, and expects the file of before.
func TestSetAuditEvents(t *testing.T) {
	t.Parallel()
	listener := &AuditEvents{Address: ":5002", SecretFile: "conf/auth/events-secret", Peers: PrivateRanges()}
	for name, tt := range map[string]struct{ extras, mode string }{
		"nothing":     {"  services: ['a', \"b\"] # registries\n", AuditBestEffort},
		"the mode":    {"  audit: required # or nothing\n", AuditRequired},
		"settings":    {"  audit:\n    # For ever.\n    keep: 0\n", AuditBestEffort},
		"in one line": {"  audit: {mode: required, keep: 0}\n", AuditRequired},
		"another":     {"  audit:\n    events: {address: ':6', secret_file: x}\n", AuditBestEffort},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, []byte(strings.Replace(settingsFile, "  services: ['a', \"b\"] # registries\n", tt.extras, 1)))
			next, err := f.Apply(SetAuditEvents(listener))
			if err != nil {
				t.Fatal(err)
			}
			got := next.Extras.Audit
			if !SameAuditEvents(got.Events, listener) || got.Mode != tt.mode || got.Keep != f.Extras.Audit.Keep {
				t.Errorf("the audit log is kept as %+v with events %+v\n%s", got, got.Events, next.Bytes())
			}
			if again, err := next.Apply(SetAuditEvents(listener)); err != nil || again != next {
				t.Errorf("a second edit changes something, or fails: %v", err)
			}
			back, err := next.Apply(SetAuditEvents(nil))
			if err != nil {
				t.Fatal(err)
			}
			if a := back.Extras.Audit; a.Events != nil || a.Mode != tt.mode || a.Keep != f.Extras.Audit.Keep {
				t.Errorf("taken out again: %+v\n%s", a, back.Bytes())
			}
		})
	}
	f, err := mustParse(t, []byte(settingsFile)).Apply(SetAuditEvents(&AuditEvents{Address: ":1", SecretFile: "s", Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}))
	if err != nil || len(f.Extras.Audit.Events.Peers) != 1 || f.Extras.Audit.Events.Peers[0].String() != "10.0.0.0/8" {
		t.Errorf("peers of one's own: %+v, %v", f.Extras.Audit.Events, err)
	}
}
