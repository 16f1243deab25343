package lint

import (
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// WriteSARIF writes the findings as a SARIF 2.1.0 log (OASIS), which code hosts show beside the
// lines. Version is the program's own. Columns count characters, as everywhere in findings.
func WriteSARIF(w io.Writer, version string, findings []Finding) error {
	type text struct {
		Text string `json:"text"`
	}
	type configuration struct {
		Level string `json:"level"`
	}
	type descriptor struct {
		ID      string        `json:"id"`
		Short   text          `json:"shortDescription"`
		HelpURI string        `json:"helpUri"`
		Default configuration `json:"defaultConfiguration"`
	}
	type region struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn"`
	}
	type artifact struct {
		URI string `json:"uri"`
	}
	type physical struct {
		Artifact artifact `json:"artifactLocation"`
		Region   region   `json:"region"`
	}
	type location struct {
		Physical physical `json:"physicalLocation"`
	}
	type result struct {
		RuleID    string     `json:"ruleId"`
		RuleIndex int        `json:"ruleIndex"`
		Level     string     `json:"level"`
		Message   text       `json:"message"`
		Locations []location `json:"locations"`
	}
	type driver struct {
		Name    string       `json:"name"`
		Version string       `json:"version,omitempty"`
		Info    string       `json:"informationUri"`
		Rules   []descriptor `json:"rules"`
	}
	type tool struct {
		Driver driver `json:"driver"`
	}
	type run struct {
		Tool       tool     `json:"tool"`
		ColumnKind string   `json:"columnKind"`
		Results    []result `json:"results"`
	}
	type log struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	level := func(s Severity) string {
		if s == Info {
			return "note"
		}
		return s.String()
	}
	r := run{ColumnKind: "unicodeCodePoints", Results: []result{}}
	r.Tool.Driver = driver{Name: "regctl-setup", Version: version, Info: "https://github.com/regctl-setup/regctl-setup"}
	rules := Rules()
	for i := range rules {
		r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, descriptor{rules[i].Name, text{rules[i].Doc}, rules[i].URL(), configuration{level(rules[i].Severity)}})
	}
	for _, f := range findings {
		message := f.Message
		if f.Fix != nil {
			message += ". Fix: " + f.Fix.Text
		}
		at := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == f.Rule })
		r.Results = append(r.Results, result{f.Rule, at, level(f.Severity), text{message}, []location{{physical{artifact{uri(f.Pos.File)}, region{max(f.Pos.Line, 1), max(f.Pos.Column, 1)}}}}})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(log{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []run{r}})
}

// uri writes a path as a relative URI reference of RFC 3986.
func uri(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"
	var b strings.Builder
	for _, c := range []byte(filepath.ToSlash(path)) {
		if strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
