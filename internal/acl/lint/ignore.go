package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// keep returns the findings without those that the file switches off.
func (p *pass) keep(rules []Rule) []Finding {
	off := map[string]bool{}
	for _, x := range p.file.Extras.LintIgnore {
		off[x.Rule] = true
	}
	comments := p.ignoreComments()
	p.unknownRules(rules, comments)
	var kept []Finding
	for _, f := range p.findings {
		if !f.fatal {
			if off[f.Rule] || comments.covers(f.Pos.Line, f.Rule) {
				continue
			}
			if f.entry >= 0 && comments.covers(p.entries[f.entry].Pos.Line, f.Rule) {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// ignores are the comments of a file that switch rules off, by the line that they stand for.
type ignores struct {
	lines map[int][]string
	all   []ignoreComment
}

type ignoreComment struct {
	line, column int
	rules        []string
}

func (x ignores) covers(line int, rule string) bool { return slices.Contains(x.lines[line], rule) }

// ignoreComments reads "# lint:ignore RULE[,RULE…] reason". A comment on a line of its own stands
// for the next line that is no comment.
func (p *pass) ignoreComments() ignores {
	x := ignores{lines: map[int][]string{}}
	data := p.file.Bytes()
	if !bytes.Contains(data, []byte("lint:ignore")) {
		return x
	}
	directive := regexp.MustCompile(`(?:^|[ \t])#[ \t]*lint:ignore[ \t]+([a-z0-9-]+(?:,[a-z0-9-]+)*)(?:[ \t]|$)`)
	var waiting []string
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		own := strings.HasPrefix(strings.TrimLeft(line, " \t"), "#")
		var here []string
		if m := directive.FindStringSubmatchIndex(line); m != nil {
			here = strings.Split(line[m[2]:m[3]], ",")
			x.all = append(x.all, ignoreComment{n + 1, len([]rune(line[:m[2]])) + 1, here})
		}
		switch {
		case own:
			waiting = append(waiting, here...)
		case strings.TrimSpace(line) == "":
			waiting = nil
		default:
			x.lines[n+1] = append(waiting, here...)
			waiting = nil
		}
	}
	return x
}

// unknownRules reports ignore lists that name a rule that there is not.
func (p *pass) unknownRules(rules []Rule, comments ignores) {
	names := make([]string, len(rules))
	for i := range rules {
		names[i] = rules[i].Name
		if rules[i].Name == unknownRule().Name {
			p.rule = &rules[i]
		}
	}
	check := func(name string) (string, bool) {
		if slices.Contains(names, name) {
			return "", false
		}
		text := fmt.Sprintf("there is no lint rule %q", name)
		if near := closest(name, names); near != "" {
			text += fmt.Sprintf(", did you mean %q?", near)
		}
		return text, true
	}
	for _, ignore := range p.file.Extras.LintIgnore {
		if text, bad := check(ignore.Rule); bad {
			p.report(ignore.Pos, "%s", text)
		}
	}
	pos := p.file.Position()
	for _, c := range comments.all {
		for _, name := range c.rules {
			if text, bad := check(name); bad {
				pos.Line, pos.Column = c.line, c.column
				p.report(pos, "%s", text)
			}
		}
	}
}

func unknownRule() Rule {
	return Rule{
		Name: "unknown-rule", Severity: Warning,
		Doc: "an ignore list or comment names a lint rule that does not exist",
	}
}
