package doctor

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// envLine is an assignment in .env.
type envLine struct {
	name, raw string // raw: what stands after the "=", as it stands
	line      int
}

// quoted reports whether the value stands in quotes.
func (l envLine) quoted() bool {
	return strings.HasPrefix(l.raw, "'") || strings.HasPrefix(l.raw, `"`)
}

func (f *Facts) readEnv() {
	data, err := readBounded(f.Path(scaffold.PathEnv), maxConfigSize)
	if err != nil {
		return
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(strings.TrimSpace(line), "\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, raw, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			continue
		}
		f.env = append(f.env, envLine{strings.TrimSpace(name), strings.TrimSpace(raw), i + 1})
	}
}

func envAt(l envLine) acl.Pos { return acl.Pos{File: scaffold.PathEnv, Line: l.line, Column: 1} }

// envVar returns the line that sets a variable.
func (f *Facts) envVar(name string) (envLine, bool) {
	i := slices.IndexFunc(f.env, func(l envLine) bool { return l.name == name })
	if i < 0 {
		return envLine{}, false
	}
	return f.env[i], true
}

// imageAt returns where a service's image is chosen, and the name of that place.
func (f *Facts) imageAt(s *service) (at acl.Pos, where string) {
	for _, l := range f.env {
		if strings.Trim(l.raw, `'"`) == s.image.ref && strings.HasSuffix(l.name, "IMAGE") {
			return envAt(l), scaffold.PathEnv
		}
	}
	return f.serviceAt(s, "image"), f.rel(f.Compose)
}

// composeValue is what docker compose makes of a raw value of .env.
func composeValue(raw string) (string, error) {
	m, err := dotenv.ParseWithLookup(strings.NewReader("X="+raw+"\n"), func(string) (string, bool) { return "", false })
	if err != nil {
		return "", err
	}
	return m["X"], nil
}

// bcryptHash finds a password hash in a text.
var bcryptHash = regexp.MustCompile(`\$2[aby]\$\d\d\$`)

func envChecks() []Check {
	return []Check{
		{
			Code: "env-value-mangled", Severity: Error,
			Title: "a value in .env that docker compose changes",
			Why:   "the services get another text than the one that stands there: a $ begins a variable, and # after a blank ends the value",
			Mend:  "put the value in single quotes (regctl-setup doctor --fix does)",
			run: func(p *pass) {
				for _, l := range p.env {
					if l.quoted() {
						continue
					}
					got, err := composeValue(l.raw)
					if err == nil && got == l.raw {
						continue
					}
					what := "docker compose refuses it"
					if err == nil {
						what = fmt.Sprintf("docker compose makes %d characters of its %d", len(got), len(l.raw))
					}
					p.report(envAt(l), "%s is not in quotes, and %s", l.name, what).
						mend("%s   puts it in single quotes", p.cmd("doctor --fix")).
						makes(p.quoteEnv(l))
				}
			},
		},
		{
			Code: "env-variable-twice", Severity: Warning,
			Title: "a variable that .env sets twice",
			Why:   "the last line wins, and whoever edits the first one changes nothing",
			Mend:  "remove one of the lines",
			run: func(p *pass) {
				first := map[string]envLine{}
				for _, l := range p.env {
					if earlier, twice := first[l.name]; twice {
						p.report(envAt(l), "%s is set in line %d already", l.name, earlier.line).mend("remove line %d or line %d of %s", earlier.line, l.line, scaffold.PathEnv)
						continue
					}
					first[l.name] = l
				}
			},
		},
		{
			Code: "env-variable-unset", Severity: Error,
			Title: "a variable that the compose file uses and nothing sets",
			Why:   "docker compose puts an empty text in its place, with a warning that scrolls by",
			Mend:  "set the variable in .env",
			run: func(p *pass) {
				if p.Compose == "" {
					return
				}
				data, err := readBounded(p.Compose, maxConfigSize)
				if err != nil {
					return // the compose file's own check says so
				}
				seen := map[string]bool{}
				for i, line := range bytes.Split(data, []byte("\n")) {
					if t := bytes.TrimSpace(line); bytes.HasPrefix(t, []byte("#")) {
						continue
					}
					for _, m := range variableUse.FindAllSubmatchIndex(line, -1) {
						name := string(line[m[2]:m[3]])
						if _, set := p.envVar(name); set || seen[name] || strings.HasPrefix(name, "COMPOSE_") {
							continue
						}
						seen[name] = true
						p.report(acl.Pos{File: p.rel(p.Compose), Line: i + 1, Column: m[0] + 1}, "%s is used here and set nowhere in %s", name, scaffold.PathEnv).
							mend("add the line %s='…' to %s", name, p.shown(scaffold.PathEnv))
					}
				}
			},
		},
		{
			Code: "hash-in-compose", Severity: Error,
			Title: "a password hash in .env or the compose file",
			Why:   "docker compose takes its $ signs for variables: the hash arrives broken, and no password fits it",
			Mend:  "keep hashes in the auth config, which is a mounted file: regctl-setup user passwd NAME",
			run: func(p *pass) {
				for _, l := range p.env {
					if bcryptHash.MatchString(l.raw) {
						p.report(envAt(l), "%s holds a password hash", l.name).mend("remove the line; %s   sets a password where it belongs", p.cmd("user passwd NAME"))
					}
				}
				for _, s := range p.services() {
					for _, name := range sortedNames(s.Environment) {
						if strings.HasPrefix(s.variable(name), "$2") {
							p.report(p.serviceAt(s, "environment", name), "%s of service %s holds a password hash", name, s.Name).
								mend("remove it; %s   sets a password where it belongs", p.cmd("user passwd NAME"))
						}
					}
				}
			},
		},
		{
			Code: "secret-in-compose", Severity: Warning,
			Title: "a secret in the compose file or .env",
			Why:   "docker inspect, docker compose config and whoever reads the repository show it; the registry also reads such values as YAML and breaks some",
			Mend:  "move it into a file of mode 0600 that is mounted: conf/registry/config.yml, or an AWS credentials file",
			run: func(p *pass) {
				for _, s := range p.services() {
					for _, name := range sortedNames(s.Environment) {
						if secretVariable.MatchString(name) && s.variable(name) != "" {
							p.report(p.serviceAt(s, "environment", name), "%s of service %s is a secret in clear", name, s.Name).
								mend("%s", secretAdvice(name))
						}
					}
				}
			},
		},
	}
}

// variableUse finds $NAME and ${NAME} without a default or an error of their own.
var variableUse = regexp.MustCompile(`(?:^|[^$])\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\})`)

// secretVariable finds variables that hold a secret by their names.
var secretVariable = regexp.MustCompile(`^REGISTRY_HTTP_SECRET$|ACCESSKEY$|SECRETKEY$|ACCOUNTKEY$|SECRET_ACCESS_KEY$|_PASSWORD$|^REGISTRY_REDIS_PASSWORD$`)

func secretAdvice(name string) string {
	switch {
	case strings.HasPrefix(name, "REGISTRY_STORAGE_S3"), strings.HasPrefix(name, "AWS_"):
		return "put the keys in an AWS credentials file (mode 0600), mount it, and set AWS_SHARED_CREDENTIALS_FILE to its path"
	case name == "REGISTRY_HTTP_SECRET":
		return "put it as http.secret in a configuration file of mode 0600 that the registry is started with"
	}
	return "put it in a file of mode 0600 that is mounted as a secret"
}

func sortedNames[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// quoteEnv puts a line's value in single quotes.
func (f *Facts) quoteEnv(l envLine) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if strings.HasSuffix(l.raw, `\`) {
			return "", fmt.Errorf("%s:%d: the value of %s ends with a backslash, which .env can't hold", scaffold.PathEnv, l.line, l.name)
		}
		_, err := safefile.Transform(ctx, f.Path(scaffold.PathEnv), func(old []byte) ([]byte, error) {
			lines := strings.Split(string(old), "\n")
			if l.line > len(lines) || !strings.Contains(lines[l.line-1], l.raw) {
				return nil, fmt.Errorf("%s:%d changed meanwhile", scaffold.PathEnv, l.line)
			}
			at := strings.Index(lines[l.line-1], "=")
			lines[l.line-1] = lines[l.line-1][:at+1] + "'" + strings.ReplaceAll(l.raw, "'", `\'`) + "'"
			return []byte(strings.Join(lines, "\n")), nil
		}, safefile.TransformOptions{Mode: fs.FileMode(0o600), Command: "regctl-setup doctor --fix"})
		return fmt.Sprintf("%s:%d: %s is in single quotes", scaffold.PathEnv, l.line, l.name), err
	}
}
