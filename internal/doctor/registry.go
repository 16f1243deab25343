package doctor

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

func registryChecks() []Check {
	return []Check{
		{
			Code: "registry-config-invalid", Severity: Error,
			Title: "a registry configuration that the registry's own parser refuses, or keys that it would skip",
			Why:   "the registry does not start, or runs without what the line says",
			Mend:  "correct the line named",
			run: func(p *pass) {
				file := p.rel(p.registryFile)
				err := p.settingsErr
				if err == nil && len(p.settings.drivers()) < 2 { // more are a check of their own
					err = p.registryStrict
				}
				if err == nil {
					return
				}
				for _, line := range strings.Split(err.Error(), "\n") {
					pos := at(file)
					if m := composeLine.FindStringSubmatch(line); m != nil {
						pos.Line, _ = strconv.Atoi(m[1])
						pos.Column = 1
					} else if strings.HasSuffix(line, "unmarshal errors:") {
						continue
					}
					p.report(pos, "%s", strings.TrimSpace(line)).mend("correct or remove what is named; then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "registry-config-not-read", Severity: Error,
			Title: "a configuration file that is mounted where this registry does not look",
			Why:   "the path moved between registry 2 and 3: the mounted file is ignored in silence, and the image's own development configuration runs",
			Mend:  "name the file in the command: [serve, /path/of/config.yml]",
			run: func(p *pass) {
				if p.registry == nil || len(p.registry.Command) > 0 || len(p.registry.Entrypoint) > 0 {
					return
				}
				looks, elsewhere := registryPaths[0], registryPaths[1]
				if p.registryMajor() == 2 {
					looks, elsewhere = elsewhere, looks
				}
				if _, ok := p.registry.inside(elsewhere); ok {
					if _, right := p.registry.inside(looks); !right {
						p.report(p.serviceAt(p.registry, "volumes", elsewhere), "the configuration is mounted at %s, and registry %d reads %s", elsewhere, p.registryMajor(), looks).
							mend("add to service %s: command: [serve, %s]", p.registry.Name, elsewhere)
					}
				}
			},
		},
		{
			Code: "http-secret-weak", Severity: Error,
			Title: "a http.secret that is missing, short or an example's",
			Why:   "it signs the state of uploads: who knows it can go on with somebody else's upload, and without one a restart or a second replica breaks pushes with \"blob upload invalid\"",
			Mend:  "write 64 random hexadecimal digits: openssl rand -hex 32",
			run: func(p *pass) {
				if !p.hasRegistry() || p.settingsErr != nil || p.registryStrict != nil && len(p.settings.drivers()) < 2 {
					return
				}
				v, set := p.settings.get("http.secret")
				switch {
				case !set || v.value == "":
					p.report(p.settings.at("http.secret"), "the registry has no http.secret").
						mend("openssl rand -hex 32   makes one; write it as http.secret in the registry's configuration").Severity = Warning
				case len(v.value) < 16 || slices.Contains([]string{"somerandomstringhere", "asecretforlocaldevelopment", "changemechangeme"}, v.value):
					p.report(v.pos, "http.secret is an example's or shorter than 16 characters").mend("openssl rand -hex 32   makes a good one; then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "drain-timeout", Severity: Warning,
			Title: "a registry that cuts uploads when it is restarted",
			Why:   "without draintimeout a restart ends pushes in flight within 10 ms; with one that is longer than the container's stop_grace_period they are killed in the middle",
			Mend:  "set http.draintimeout: 60s, and stop_grace_period: 70s on the service",
			run:   drains,
		},
		{
			Code: "debug-server-exposed", Severity: Warning,
			Title: "the registry's debug server on all interfaces",
			Why:   "every container beside it can read the process's memory profile, command line and secrets",
			Mend:  "set http.debug.addr: 127.0.0.1:5001",
			run: func(p *pass) {
				v, set := p.settings.get("http.debug.addr")
				if set {
					if host, _, err := net.SplitHostPort(v.value); err == nil && host != "127.0.0.1" && host != "localhost" && host != "::1" {
						p.report(v.pos, "http.debug.addr is %q", v.value).mend("write addr: 127.0.0.1:%s under http.debug, then: %s", portOf(v.value), p.restart("registry"))
					}
					return
				}
				if p.registryFile == "" && !p.generated && p.registry != nil && p.registryMajor() == 3 && p.registry.image.repo == "registry" {
					p.report(p.serviceAt(p.registry, "environment"), "registry 3 without a file of its own runs its image's development configuration: debug server on :5001, debug log, deletes enabled").
						mend("start it with a configuration file: command: [serve, /etc/regctl-setup/registry/config.yml]")
				}
			},
		},
		{
			Code: "registry-env-mangled", Severity: Error,
			Title: "a REGISTRY_ variable that the registry reads as something else",
			Why:   "it reads the values as YAML: @ * & ! % and a # after a blank change or end them, long numbers are rounded, and some stop it at start",
			Mend:  "put the value into the configuration file, in quotes",
			run:   envMangled,
		},
		{
			Code: "registry-env-refused", Severity: Error,
			Title: "a REGISTRY_ variable that the registry refuses",
			Why:   "it panics at start",
			Mend:  "put the setting into the configuration file, or give the whole section as JSON",
			run: func(p *pass) {
				if p.registry == nil {
					return
				}
				for _, name := range []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED"} {
					if p.registry.variable(name) != "" {
						section := strings.TrimSuffix(name, "_ENABLED")
						p.report(p.serviceAt(p.registry, "environment", name), "%s stops the registry with \"config key must contain additional keys\"", name).
							mend(`write %s: '{"enabled": %s}'`, section, p.registry.variable(name))
					}
				}
				if v := p.registry.variable("REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS"); v != "" && !strings.HasPrefix(v, "[") {
					p.report(p.serviceAt(p.registry, "environment", "REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS"), "signing algorithms must be a list, and %q is none", v).
						mend("write REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS: '[%s]'", v)
				}
			},
		},
		{
			Code: "registry-read-only", Severity: Warning,
			Title: "a registry that is switched to reading only",
			Why:   "every push ends with 405; the switch is easily forgotten after a backup or a garbage collection",
			Mend:  "set storage.maintenance.readonly.enabled: false and restart the registry",
			run: func(p *pass) {
				if p.settings.on("storage.maintenance.readonly.enabled") {
					p.report(p.settings.at("storage.maintenance.readonly.enabled"), "maintenance.readonly is on").mend("write readonly: {enabled: false}, then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "pull-through-cache", Severity: Warning,
			Title: "a registry that is set up as a pull-through cache",
			Why:   "a cache accepts no pushes, and whoever may pull from it reads everything that its upstream account can",
			Mend:  "remove the proxy section, or run the cache as a second registry with its own store",
			run: func(p *pass) {
				if v, set := p.settings.get("proxy.remoteurl"); set && v.value != "" {
					p.report(v.pos, "proxy.remoteurl is %s", v.value).mend("remove the proxy section, then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "notification-secret-logged", Severity: Warning,
			Title: "a secret in the headers of a notification endpoint, other than the audit log's own",
			Why:   "the registry writes the headers into its log at start, in clear",
			Mend:  "remove the header; let the endpoint be reachable from the registry's network only",
			run: func(p *pass) {
				v, set := p.settings.get("notifications.endpoints")
				if !set || v.node == nil || v.node.Kind != yaml.SequenceNode {
					return
				}
				for _, n := range v.node.Content {
					var e endpoint
					if n.Decode(&e) == nil && len(e.Headers["Authorization"]) > 0 && !p.isAuditEndpoint(e) {
						pos := v.pos
						pos.Line, pos.Column = n.Line, n.Column
						p.report(pos, "endpoint %q sends an Authorization header", e.Name).mend("remove headers.Authorization of the endpoint, then: %s", p.restart("registry"))
					}
				}
			},
		},
		{
			Code: "redis-settings", Severity: Error,
			Title: "redis settings in the form of another registry version",
			Why:   "the registry panics at start: \"redis configuration required\"",
			Mend:  "registry 3 wants redis.addrs: [HOST:PORT], registry 2 redis.addr: HOST:PORT",
			run: func(p *pass) {
				old, isOld := p.settings.get("redis.addr")
				neu, isNew := p.settings.get("redis.addrs")
				switch {
				case p.registryMajor() >= 3 && isOld && !isNew:
					p.report(old.pos, "registry 3 does not know redis.addr").mend("write addrs: [%s]", old.value)
				case p.registryMajor() == 2 && isNew && !isOld:
					p.report(neu.pos, "registry 2 does not know redis.addrs").mend("write addr: HOST:PORT")
				}
			},
		},
		{
			Code: "traces-exported", Severity: Warning,
			Title: "a registry 3 that exports traces to nobody",
			Why:   "its log fills with \"traces export: Post https://localhost:4318\"",
			Mend:  "set OTEL_TRACES_EXPORTER: none",
			run: func(p *pass) {
				// The published image sets the variable itself; others built from the sources do not.
				if p.registry != nil && p.registryMajor() >= 3 && !(p.registry.image.host == "" && p.registry.image.repo == "registry") &&
					p.registry.variable("OTEL_TRACES_EXPORTER") == "" {
					p.report(p.serviceAt(p.registry, "environment"), "%s exports traces unless it is told not to", p.registry.image.ref).
						mend("add to the environment of service %s: OTEL_TRACES_EXPORTER: none", p.registry.Name)
				}
			},
		},
		{
			Code: "registry-replicas", Severity: Error,
			Title: "several registries on a store or a secret that they don't share",
			Why:   "the steps of one push reach different registries: \"blob upload unknown\", every now and then",
			Mend:  "one replica on disk storage; more only on object storage with one http.secret",
			run: func(p *pass) {
				if p.registry == nil || p.registry.Deploy == nil || p.registry.Deploy.Replicas == nil || *p.registry.Deploy.Replicas < 2 {
					return
				}
				if p.settings.has("storage.filesystem") {
					p.report(p.serviceAt(p.registry, "deploy"), "%d replicas on disk storage", *p.registry.Deploy.Replicas).mend("write replicas: 1, or move the images to object storage")
				}
			},
		},
		{
			Code: "key-in-registry", Severity: Error,
			Title: "the private signing key mounted into the registry",
			Why:   "the registry needs certificates only; with the key in its container a hole in it lets anybody sign tokens",
			Mend:  "mount a folder that holds only certificate and key set",
			run: func(p *pass) {
				if p.registry == nil || p.Auth == nil {
					return
				}
				_, key := p.Auth.SigningPair()
				for _, v := range p.registry.Volumes {
					if key != "" && v.Type == types.VolumeTypeBind && within(v.Source, p.Resolve(key)) {
						p.report(p.serviceAt(p.registry, "volumes", v.Target), "service %s sees %s", p.registry.Name, p.rel(p.Resolve(key))).
							mend("mount ./conf/trust instead of %s", p.rel(v.Source))
					}
				}
			},
		},
	}
}

// drains compares the registry's wait for uploads with what the container is granted.
func drains(p *pass) {
	if !p.hasRegistry() || p.Embedded || p.settingsErr != nil || p.registryStrict != nil && len(p.settings.drivers()) < 2 {
		return
	}
	v, set := p.settings.get("http.draintimeout")
	if !set {
		p.report(p.settings.at("http.draintimeout"), "http.draintimeout is not set").
			mend("write draintimeout: 60s under http and stop_grace_period: 70s on the service, then: %s", p.dockerCompose("up -d registry"))
		return
	}
	drain, err := time.ParseDuration(v.value)
	if err != nil || p.registry == nil {
		return
	}
	grace := 10 * time.Second
	if g := p.registry.StopGracePeriod; g != nil {
		grace = time.Duration(*g)
	}
	if grace < drain {
		p.report(p.serviceAt(p.registry, "stop_grace_period"), "the container is killed after %s, and the registry waits %s for uploads", grace, drain).
			mend("write stop_grace_period: %s on service %s", drain+10*time.Second, p.registry.Name)
	}
}

// envMangled reads the registry's variables as it does, and compares.
func envMangled(p *pass) {
	if p.registry == nil {
		return
	}
	for _, name := range sortedNames(p.registry.Environment) {
		value := p.registry.variable(name)
		if !strings.HasPrefix(name, "REGISTRY_") || value == "" || strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") {
			continue
		}
		text := slices.ContainsFunc([]string{"ACCESSKEY", "SECRETKEY", "HTTP_SECRET", "ISSUER", "SERVICE", "PASSWORD", "ACCOUNTKEY"}, func(end string) bool { return strings.HasSuffix(name, end) })
		if !text {
			continue
		}
		var got any
		err := yaml.Unmarshal([]byte(value), &got)
		if s, ok := got.(string); err == nil && ok && s == value {
			continue
		}
		pos := p.serviceAt(p.registry, "environment", name)
		kind := fmt.Sprintf("as a %T", got)
		switch {
		case err != nil:
			kind = "not at all"
		case got == nil:
			kind = "as nothing"
		}
		p.report(pos, "the registry, which reads it as YAML, takes the value of %s %s, not as the text that it is", name, kind).
			mend(`write %s: '"…"', with the double quotes inside, or put it into a configuration file`, path.Base(name))
	}
}

// endpoint is the part of a notification endpoint that the checks read.
type endpoint struct {
	Name    string              `yaml:"name"`
	URL     string              `yaml:"url"`
	Headers map[string][]string `yaml:"headers"`
}

// isAuditEndpoint reports whether e is the audit log's own listener as init wires it, in the token
// server or beside it, with the secret that is for this listener alone: it lets nobody in, and
// what it protects is reached by the containers of the internal network only.
func (p *pass) isAuditEndpoint(e endpoint) bool {
	file := ""
	switch {
	case len(e.Headers) != 1:
	case e.URL == scaffold.EventsURL && p.Auth != nil && p.Auth.Extras.Audit.Events != nil:
		file = p.Resolve(p.Auth.Extras.Audit.Events.SecretFile)
	case e.URL == scaffold.AuditURL && p.auditService():
		file = p.Path(scaffold.PathAuditSecret)
	}
	if file == "" {
		return false
	}
	data, err := readBounded(file, maxConfigSize)
	return err == nil && slices.Equal(e.Headers["Authorization"], []string{"Bearer " + strings.TrimSpace(string(data))})
}
