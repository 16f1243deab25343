package lint

import "strings"

func ipRuleWithoutRealIP() Rule {
	return Rule{
		Name: "ip-rule-without-real-ip", Severity: Warning,
		Doc: "an entry with ip while the server sees only the proxy's address; error where a client can choose its address",
		check: func(p *pass) {
			s, x := &p.file.Server, &p.file.Extras
			// A list header is written by everybody on the way: its left end is the client's own.
			list := strings.EqualFold(s.RealIPHeader, "X-Forwarded-For") || strings.EqualFold(s.RealIPHeader, "Forwarded")
			for i := range p.entries {
				if p.entries[i].Match.IP == nil || p.entries[i].broken {
					continue
				}
				switch {
				case s.RealIPHeader == "" && s.Certificate == "":
					p.reportEntry(i, "ip %s: behind a proxy every request comes from the proxy's address, and server.real_ip_header is not set", *p.entries[i].Match.IP).Fix =
						advise("server: {real_ip_header: X-Forwarded-For, real_ip_pos: -1} behind one proxy")
				case list && s.RealIPPos >= 0 && (!x.HasTrustedProxies || !p.in.Bundled):
					f := p.reportEntry(i, "ip %s: real_ip_pos %d takes an address of %s that the client writes itself", *p.entries[i].Match.IP, s.RealIPPos, s.RealIPHeader)
					f.Severity = Error
					f.Fix = advise("real_ip_pos: -1 takes what the proxy has added")
				}
			}
		},
	}
}
