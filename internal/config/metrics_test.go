package config

import (
	"strings"
	"testing"
)

func TestMetricsSetting(t *testing.T) {
	t.Parallel()
	const head = "server: {addr: \":5001\", certificate: c, key: k}\ntoken: {issuer: i, expiration: 900}\nusers: {}\nacl: []\n"
	for text, want := range map[string]struct {
		metrics Metrics
		problem string // in the message
	}{
		"":                                       {Metrics{Listen: DefaultMetricsListen}, ""},
		`metrics: {listen: ":9101"}`:             {Metrics{":9101", true}, ""},
		`metrics: {listen: off}`:                 {Metrics{"", true}, ""},
		`metrics: {listen: "off"}`:               {Metrics{"", true}, ""},
		`metrics: {listen: "[::1]:9102"}`:        {Metrics{"[::1]:9102", true}, ""},
		`metrics: {listen: 9101}`:                {problem: `expected host:port or off, found "9101": missing port in address`},
		`metrics: {listen: "127.0.0.1:99999"}`:   {problem: `the port "99999"`},
		`metrics: {listen: "127.0.0.1:metrics"}`: {problem: `the port "metrics"`},
		`metrics: {listen: }`:                    {problem: "metrics.listen has no value"},
		`metrics: off`:                           {problem: "expected a map"},
		`metrics: {lissten: x}`:                  {problem: `unknown key "lissten"`},
		`prometheus: {}`:                         {problem: `unknown key "prometheus"`},
	} {
		f, problems := Parse("a.yml", []byte(head+"x-regctl-setup: {"+text+"}\n"))
		switch {
		case want.problem == "" && len(problems) > 0:
			t.Errorf("%s: %v", text, problems)
		case want.problem == "" && f.Extras.Metrics != want.metrics:
			t.Errorf("%s: got %+v, want %+v", text, f.Extras.Metrics, want.metrics)
		case want.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), want.problem)):
			t.Errorf("%s: got %v, want %q", text, problems, want.problem)
		}
	}
}
