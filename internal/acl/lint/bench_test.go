package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// large is a config of n users and n entries: a third literal accounts with globs, a third anchored
// regexps, a third labels; every twentieth entry is dead.
func large(tb testing.TB, n int) *config.File {
	tb.Helper()
	var b strings.Builder
	b.WriteString("server: {addr: ':5001'}\ntoken: {issuer: Acme, expiration: 3600, certificate: c.pem, key: k.pem}\nusers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  u%d: {password: '%s', labels: {team: [t%d]}}\n", i, goodHash, i%(n/10+1))
	}
	b.WriteString("acl:\n")
	for i := range n {
		switch {
		case i%20 == 19:
			fmt.Fprintf(&b, "  - match: {account: u%d, type: repository, name: '/^p%d/.+$/'}\n", i-19, i-19)
		case i%3 == 0:
			fmt.Fprintf(&b, "  - match: {account: u%d, type: repository, name: '/^p%d/.+$/'}\n", i, i)
		case i%3 == 1:
			fmt.Fprintf(&b, "  - match: {type: repository, name: '/^q%d/.+$/'}\n", i)
		default:
			fmt.Fprintf(&b, "  - match: {labels: {team: t%d}, type: repository, name: '/^r%d-(?:${labels:team})/.+$/'}\n", i%(n/10+1), i)
		}
		b.WriteString("    actions: [pull]\n")
	}
	f, problems := config.Parse("large.yml", []byte(b.String()))
	if len(problems) > 0 {
		tb.Fatal(problems[0])
	}
	return f
}

func BenchmarkRun(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		f := large(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Run(Input{File: f}) == nil {
					b.Fatal("the dead entries are not found")
				}
			}
		})
	}
}
