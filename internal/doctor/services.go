package doctor

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// composeLine finds the line that compose-go names in an error.
var composeLine = regexp.MustCompile(`line (\d+)`)

// composeChecks are about the compose file as a whole.
func composeChecks() []Check {
	return []Check{
		{
			Code: "compose-invalid", Severity: Error,
			Title: "a compose file that docker compose refuses",
			Why:   "nothing can be started, and a restart after an edit of another file fails too",
			Mend:  "correct what is named; docker compose config --quiet says the same",
			run: func(p *pass) {
				if p.projectErr == nil || p.Answers != nil && p.noEnv() {
					return // without .env no value is set, which file-missing tells
				}
				pos := at(p.rel(p.Compose))
				msg := strings.TrimPrefix(p.projectErr.Error(), "compose file "+p.Compose+": ")
				if m := composeLine.FindStringSubmatch(msg); m != nil {
					pos.Line, _ = strconv.Atoi(m[1])
					pos.Column = 1
				}
				p.report(pos, "%s", strings.NewReplacer(p.Dir+string(os.PathSeparator), "", "\n", "; ").Replace(msg)).mend("correct it; %s   checks again", p.dockerCompose("config --quiet"))
			},
		},
		{
			Code: "single-file-mount", Severity: Warning,
			Title: "a configuration file that is mounted by itself",
			Why:   "editors and this program replace files by a rename, and such a container keeps the old one until it is restarted: changes of users and rules seem to do nothing",
			Mend:  "mount the folder that holds the file",
			run: func(p *pass) {
				for _, s := range p.services() {
					for _, v := range s.Volumes {
						if v.Type != types.VolumeTypeBind || !isFile(v.Source) || !within(p.Dir, v.Source) {
							continue
						}
						p.report(p.serviceAt(s, "volumes", v.Target), "service %s mounts the file %s", s.Name, p.rel(v.Source)).
							mend("write %s in its place, then: %s; until then after each change: %s", p.folderMount(v), p.dockerCompose("up -d "+s.Name), p.dockerCompose("restart "+s.Name))
					}
				}
			},
		},
	}
}

// folderMount is the volume's line for the folder that holds the file.
func (p *pass) folderMount(v types.ServiceVolumeConfig) string {
	rel := p.rel(path.Dir(filepath.ToSlash(v.Source)))
	if rel != "." {
		rel = "./" + rel
	}
	line := rel + ":" + path.Dir(v.Target)
	if v.ReadOnly {
		line += ":ro"
	}
	return line
}

// serviceChecks are about how the token server is started.
func serviceChecks() []Check {
	return []Check{
		{
			Code: "docker-auth-log-lost", Severity: Error,
			Title: "docker_auth without -logtostderr",
			Why:   "its log goes to files inside the container: docker compose logs is empty, and with a read-only root it does not start",
			Mend:  "add -logtostderr to the command",
			run: func(p *pass) {
				if p.auth == nil || p.Bundled || p.auth.image.base() != "docker_auth" {
					return
				}
				if !slices.ContainsFunc(p.auth.Command, func(a string) bool {
					return strings.TrimLeft(a, "-") == "logtostderr" || strings.TrimLeft(a, "-") == "logtostderr=true"
				}) {
					f := p.report(p.serviceAt(p.auth, "command"), "service %s is started without -logtostderr", p.auth.Name).
						mend(`write command: ["-logtostderr", "-v=1", CONFIG] on service %s`, p.auth.Name)
					if !p.auth.ReadOnly {
						f.Severity = Warning
					}
				}
			},
		},
		{
			Code: "docker-auth-logs-secrets", Severity: Error,
			Title: "docker_auth with a log level that writes passwords",
			Why:   "from -v=3 on its log holds the Authorization header of every login and every token",
			Mend:  "write -v=1",
			run: func(p *pass) {
				if p.auth == nil || p.Bundled {
					return
				}
				for _, a := range p.auth.Command {
					if level, ok := strings.CutPrefix(strings.TrimLeft(a, "-"), "v="); ok {
						if n, err := strconv.Atoi(level); err == nil && n >= 3 {
							p.report(p.serviceAt(p.auth, "command"), "%s writes passwords and tokens into the log", a).mend("write -v=1, then: %s   and clear the old logs", p.dockerCompose("up -d auth"))
						}
					}
				}
			},
		},
		{
			Code: "config-not-mounted", Severity: Error,
			Title: "an auth config that the token server's container does not see",
			Why:   "it runs with another file, or not at all: changes of users and rules have no effect",
			Mend:  "mount the folder that holds the auth config into the service",
			run: func(p *pass) {
				if p.auth == nil || p.Embedded || p.Auth == nil {
					return
				}
				for _, v := range p.auth.Volumes {
					if v.Type == types.VolumeTypeBind && within(v.Source, p.Deployment.Auth) {
						return
					}
				}
				p.report(p.serviceAt(p.auth, "volumes"), "no volume of service %s holds %s", p.auth.Name, p.rel(p.Deployment.Auth)).
					mend("add to the volumes of service %s: ./%s:/srv/deployment/%s:ro", p.auth.Name, path.Dir(p.rel(p.Deployment.Auth)), path.Dir(p.rel(p.Deployment.Auth)))
			},
		},
		{
			Code: "health-check-protected", Severity: Warning,
			Title: "a health check of the registry at /v2/",
			Why:   "that path answers 401 by design: the container is never healthy, and what waits for it never starts",
			Mend:  "check http://127.0.0.1:5001/debug/health, which also knows whether the storage works",
			run: func(p *pass) {
				if p.registry == nil || p.registry.HealthCheck == nil {
					return
				}
				if slices.ContainsFunc(p.registry.HealthCheck.Test, func(w string) bool { return strings.Contains(w, "/v2") }) {
					p.report(p.serviceAt(p.registry, "healthcheck"), "the health check of service %s asks /v2/", p.registry.Name).
						mend(`write test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:5001/debug/health"], with http.debug.addr: 127.0.0.1:5001 in the registry's configuration`)
				}
			},
		},
	}
}
