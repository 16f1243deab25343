package config

import "strings"

// corpus returns files as people write them, all without problems, some of them untidy.
func corpus() map[string]string {
	h, g := testHash, weakHash
	return map[string]string{
		"guide style": `server:
  addr: ":5001"

token:
  issuer: "Acme auth server" # Must match issuer in the Registry config.
  expiration: 900
  key: "/certs/server.key"
  certificate: "/certs/server.pem"

users:
  # Password is specified as a BCrypt hash.
  "admin":
    password: "` + g + `" # testing
    labels:
      role: ["administrator"]
  "developer":
    password: "` + g + `" # testing
    labels:
      team: ["backend"]
      role: ["developer"]
  "": {} # Allow anonymous (no "docker login") access.

# Access is denied by default.
acl:
  - match: {labels: {"role": "administrator"}}
    actions: ["*"]
    comment: "Full registry access"
  - match:
      labels: {"role": "developer"}
      name: "dev-${labels:team}/*"
    actions: ["push", "pull"]
    comment: "Team-specific write access"
  - match: { account: "" }
    actions: ["pull"]
`,
		"flow": `server: {addr: ":5001"}
token: {issuer: Acme, expiration: 900, certificate: c.pem, key: c.key}
users: {alice: {password: '` + h + `', labels: {team: [a, b]}}, bob: {password: '` + h + `'}}
acl: [{match: {account: alice}, actions: ["*"]}, {match: {}, actions: []}]
`,
		"empty sections":   "server: {addr: ':1'}\ntoken: {issuer: i, expiration: 60, certificate: c, key: k}\nusers: {}\nacl: []\n",
		"no final newline": "server: {addr: ':1'}\ntoken: {issuer: i, expiration: 60, certificate: c, key: k}\nacl:\n- match: {}\n  actions: [pull]\nusers:\n  a:\n    password: " + h,
		"CRLF":             strings.ReplaceAll("server:\n  addr: ':1'\ntoken: {issuer: i, expiration: 60, certificate: c, key: k}\nusers:\n  a: {password: "+h+"} # first\n\n  # second\n  b: {password: "+h+"}\nacl:\n- match: {account: a}\n  actions: [pull]\n", "\n", "\r\n"),
		"BOM":              "\ufeffserver: {addr: ':1'}\ntoken: {issuer: i, expiration: 60, certificate: c, key: k}\nusers: {a: {password: " + h + "}}\nacl: []\n",
		"untidy": `# top
---
acl:   # the rules
    -   actions:
          - pull   # only
          - "push"

        match:
            account:    "zoë"   # non-ASCII
            labels: { 'team' : "*" }
        # inside

    # between

    - {actions: [], match: {name: "secret/**" , account : '/.+/'}, comment: 'it''s, "closed"'}
users:

    # people


    'zoë':
            labels: {team: [ "b" , 'c' ], "odd key": [x]}   # labels first
            password: >-
              ` + h + `

    ? bob
    : password: !!str ` + h + `
      labels:
        team:
        - b
        # kept for later
        # - c
        - d
    # the end of the users
token:
    {  expiration: 1_000,
       issuer: "i", # comment
       certificate: c,
       key: k   }
server:
  addr: ":1"
x-regctl-setup:
  users:
    # leaves soon
    bob: {expires: 2027-01-31}
...
`,
		"anchors": `server: {addr: ":1"}
token: {issuer: i, expiration: 60, certificate: c, key: k}
x-labels: &dev {team: [dev]}
users:
  a: {password: "` + h + `", labels: *dev}
  b: &b
    password: "` + h + `"
  c: *b
  d: {password: "` + h + `"}
acl:
- &pull {match: {account: a}, actions: [pull]}
- <<: *pull
  actions: [push]
- match: {account: d}
  actions: [pull]
`,
		"external": `server: {addr: ":1"}
token: {issuer: i, expiration: 60, certificate: c, key: k}
ldap_auth:
  addr: ldap.example:636
  tls: always
  bind_dn:
  base: o=example
  filter: (&(uid=${account})(objectClass=person))
acl:
  - match: {account: "/.+/"}
    actions: ["pull"]
`,
	}
}
