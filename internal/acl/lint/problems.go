package lint

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// parserRules are the rules that stand for what the parser of the config reports. A finding is an
// error where the parser calls it a problem, which no server starts with, and has the rule's
// severity where it is a warning.
func parserRules() []Rule {
	code := func(severity Severity, code, doc string) Rule {
		return Rule{Name: code, Severity: severity, Doc: doc, Codes: []string{code}}
	}
	return []Rule{
		code(Error, config.CodeUnknownKey, "a key that nothing reads; in match, such an entry matches everybody"),
		code(Error, config.CodeMissingMatch, "an entry without match, of which docker_auth dies"),
		code(Error, config.CodeMissingActions, "an entry without actions, at which docker_auth drops the connection"),
		code(Error, config.CodeNullField, "a field without a value, which matches everything"),
		code(Error, config.CodeBadRegexp, "a regular expression that does not compile"),
		code(Error, config.CodeBadGlob, "a glob that is not well-formed, and never matches"),
		code(Error, config.CodeBadCIDR, "an address or network that is none"),
		code(Error, config.CodeBadPattern, "a pattern or label value that can't be used"),
		code(Error, config.CodeDuplicateUser, "a user that is there twice: docker_auth takes the last one"),
		code(Error, config.CodeDuplicateKey, "a key that is there twice: docker_auth takes the last one"),
		code(Error, config.CodeBadHash, "a password that is no bcrypt hash: the login always fails"),
		code(Error, config.CodeHashCost, "a bcrypt cost so high that logins hold the server up"),
		code(Error, config.CodeLetsEncrypt, "letsencrypt in the token server, which then serves plain HTTP: the proxy does TLS"),
		code(Error, config.CodeSyntax, "the file is no YAML, or more than one document"),
		code(Error, config.CodeWrongType, "a value of the wrong kind"),
		code(Error, config.CodeBadValue, "a value that is not allowed where it stands"),
		code(Error, config.CodeMissingKey, "a key that must be there is not"),
		code(Error, config.CodeMissingUsers, "neither users nor another login: nobody could log in"),
		code(Error, config.CodeMissingACL, "neither acl nor other rules: nothing would be allowed"),
		code(Error, config.CodeNullUser, "a user without a value"),
		code(Error, config.CodeEmptyFile, "the file is empty"),
		code(Error, config.CodeAliasBomb, "YAML aliases that grow beyond reason"),
		code(Error, config.CodeFileTooBig, "the file is larger than what is read"),
		code(Error, config.CodeUnexpectedTag, "a YAML tag that changes what a value means"),
		code(Error, config.CodeAmbiguousMerge, "a YAML merge that parsers read differently"),
		code(Error, config.CodeTLSWithoutCert, "TLS settings without a certificate"),
		code(Error, config.CodeNotServed, "a section that the bundled token server does not serve"),
		code(Error, config.CodePlugin, "a Go plugin, which the bundled token server does not load"),
		code(Warning, config.CodeWeakTLS, "a TLS version with known weaknesses"),
		code(Warning, config.CodeLifetimeLong, "tokens that live so long that a removed user keeps their rights for more than a day"),
		code(Warning, config.CodeForgeableAddress, "a header for the client's address that every client can send"),
		code(Warning, config.CodeUnusualName, "a user name that clients or logs may take for something else"),
		code(Warning, config.CodeUnknownUserFacts, "facts in x-regctl-setup.users about a user that is not there"),
		code(Warning, config.CodeSetting, "a setting that has no effect"),
		code(Warning, config.CodeTab, "a tab before a comment, which docker_auth's parser refuses in some places"),
	}
}

// fromParser turns the problems and warnings of the file into findings. Codes that no rule stands
// for are errors under their own name.
func fromParser(p *pass, rules []Rule) {
	other := Rule{Severity: Error}
	add := func(problem config.Problem, fatal bool) {
		at := slices.IndexFunc(rules, func(r Rule) bool { return slices.Contains(r.Codes, problem.Code) })
		if p.rule = &other; at >= 0 {
			p.rule = &rules[at]
		} else {
			other.Name = problem.Code
		}
		f := p.report(problem.Pos(), "%s", problem.Msg)
		if fatal {
			f.Severity, f.fatal = Error, true
		} else if f.Severity == Error && problem.Code == config.CodeUnknownKey {
			f.Severity = Warning // beside the sections that decide
		}
		if i := p.entryAt(problem.Line); i >= 0 {
			f.entry = i
			p.marked[mark{f.Rule, i}] = true
		}
		if problem.Hint != "" {
			f.Fix = advise("%s", problem.Hint)
		}
	}
	for _, problem := range p.file.Problems() {
		add(problem, true)
	}
	if p.in.Bundled {
		for _, problem := range p.file.Unserved() {
			add(problem, true)
		}
	}
	for _, problem := range p.file.Warnings {
		add(problem, false)
	}
}
