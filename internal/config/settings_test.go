package config

import (
	"errors"
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
