package lint

import "testing"

// TestDependsOnTheDeployment: rules that look beside the auth config, with the severity that they
// have there. An empty severity says that the rule is silent.
func TestDependsOnTheDeployment(t *testing.T) {
	t.Parallel()
	const (
		pattern = "x-regctl-setup: {literal_labels: true}\nusers:\n  bob:\n    password: '" + goodHash + "'\n    labels: {team: ['a.b']}\n" +
			"acl:\n  - match: {type: repository, name: '/^(?:${labels:team})/.+$/'}\n    actions: [pull]\n"
		plain   = "x-regctl-setup: {literal_labels: true}\n"
		ip      = "acl:\n  - match: {ip: 10.0.0.0/8, type: repository}\n    actions: [pull]\n"
		left    = "server: {addr: ':5001', real_ip_header: X-Forwarded-For}\n"
		right   = "server: {addr: ':5001', real_ip_header: X-Forwarded-For, real_ip_pos: -1}\n"
		trusted = "x-regctl-setup: {trusted_proxies: [private]}\n"
		pull    = "acl:\n  - match: {account: alice, type: repository}\n    actions: [pull]\n"
	)
	bundled := func(in *Input) { in.Bundled = true }
	registry := func(on bool) func(*Input) {
		return func(in *Input) { in.Registry = &Registry{Path: "r", Delete: on} }
	}
	for _, c := range []struct {
		name, excerpt string
		change        func(*Input)
		rule          string
		want          string
	}{
		{"literal labels under docker_auth", pattern, nil, "engine-differs", "error"},
		{"literal labels under bundled", pattern, bundled, "engine-differs", ""},
		{"literal labels are no patterns", pattern, bundled, "label-as-pattern", ""},
		{"plain values mean the same", plain, nil, "engine-differs", ""},
		{"lifetimes under docker_auth", "x-regctl-setup: {expiration: {pull: 300}}\n", nil, "engine-differs", "warning"},
		{"lifetimes under bundled", "x-regctl-setup: {expiration: {pull: 300}}\n", bundled, "engine-differs", ""},
		{"ip behind a proxy", ip, nil, "ip-rule-without-real-ip", "warning"},
		{"ip with a certificate", ip + "server: {addr: ':5001', certificate: c.pem, key: k.pem}\n", nil, "ip-rule-without-real-ip", ""},
		{"ip from the left", left + ip, nil, "ip-rule-without-real-ip", "error"},
		{"ip from the right", right + ip, nil, "ip-rule-without-real-ip", ""},
		{"trusted proxies replace the position", left + trusted + ip, bundled, "ip-rule-without-real-ip", ""},
		{"docker_auth does not know them", left + trusted + ip, nil, "ip-rule-without-real-ip", "error"},
		{"nobody may delete", pull, registry(true), "delete-but-storage-refuses", "warning"},
		{"nobody may, nothing does", pull, registry(false), "delete-but-storage-refuses", ""},
		{"everything is not delete", "", registry(false), "delete-but-storage-refuses", ""},
		{"other section under docker_auth", "google_auth: {domain: example.com}\n", nil, "section-not-served", ""},
		{"unknown account with another login", "ldap_auth: {addr: 'l:636', tls: always}\nacl:\n  - match: {account: eve, type: repository}\n    actions: [pull]\n", nil, "account-unknown", ""},
		{"role of init", "users:\n  bob: {password: '" + goodHash + "'}\n", nil, "label-nobody-has", "info"},
		{"other role", "acl:\n  - match: {labels: {role: boss}, type: repository}\n    actions: [pull]\n", nil, "label-nobody-has", "warning"},
		{"another case", "users:\n  Bob: {password: '" + goodHash + "'}\n  bob: {password: '!" + goodHash + "'}\n", nil, "user-shadowed-by-disabled", "warning"},
		{"entry of a disabled user", "users:\n  bob: {password: '!" + goodHash + "'}\nacl:\n  - match: {account: bob, type: repository}\n    actions: [pull]\n", nil, "user-shadowed-by-disabled", "info"},
		{"passwordless on purpose", "x-regctl-setup: {allow_passwordless: true}\nusers:\n  bob: {}\n", nil, "user-without-password", "warning"},
		{"passwordless", "users:\n  bob: {}\n", nil, "user-without-password", "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			findings := lintText(t, c.excerpt, c.change)
			got := ""
			for _, f := range findings {
				if f.Rule == c.rule {
					got = f.Severity.String()
				}
			}
			if got != c.want {
				t.Errorf("%s has severity %q, want %q; findings:\n%s", c.rule, got, c.want, golden(findings))
			}
		})
	}
}
