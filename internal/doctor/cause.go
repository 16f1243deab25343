package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// causesOf lists the codes that explain what clients see as the live code: where one of them was
// found, the live finding is not told beside it, but as what shows it.
func causesOf(code string) []string {
	start := []string{ // a service that does not start
		"file-missing", "compose-invalid", "owner-mismatch", "folder-not-enterable", "image-gone", "env-value-mangled", "env-variable-unset",
	}
	registry := []string{ // a registry that does not start
		"registry-config-invalid", "registry-env-mangled", "registry-env-refused", "registry-2-needs-bundle", "ed25519-in-bundle", "trust-unreadable",
		"trust-not-mounted", "redis-settings", "storage-drivers", "storage-driver-gone", "s3-incomplete", "s3-path-style",
	}
	proxy := []string{"caddyfile-invalid", "caddy-cannot-start", "tls-files", "domain-mismatch"}
	signer := []string{"signing-key-unusable", "key-certificate-differ", "auth-config-invalid", "engine-unusable", "config-not-mounted"}
	realm := []string{"realm-unusable", "realm-path", "realm-not-served", "domain-mismatch", "autoredirect-two-domains", "service-mismatch"}
	storage := []string{"bucket-fails", "disk-low", "owner-mismatch", "storage-drivers", "s3-path-style", "s3-incomplete"}
	switch code {
	case "port-closed", "tls-not-spoken":
		return slices.Concat(start, proxy)
	case "tls-wrong-host", "tls-expired":
		return proxy
	case "service-down":
		return slices.Concat(start, registry, proxy, signer)
	case "registry-down":
		return slices.Concat(start, registry, []string{"upstream-mismatch", "bucket-fails"})
	case "not-a-registry":
		return []string{"respond-before-proxy", "registry-not-proxied", "v2-without-slash", "upstream-mismatch"}
	case "registry-open", "challenge-wrong":
		return []string{"no-token-auth"}
	case "config-not-live":
		return realm
	case "realm-refused":
		return realm
	case "realm-unreachable", "realm-answers-wrong":
		return slices.Concat(realm, start, signer, []string{"upstream-mismatch", "registry-not-proxied"})
	case "token-refused":
		return slices.Concat([]string{
			"issuer-mismatch", "service-mismatch", "bundle-misses-certificate", "jwks-misses-key", "key-certificate-differ", "key-id-not-accepted",
			"algorithm-not-accepted", "x5c-without-bundle", "signing-certificate-expires", "trust-unreadable", "registry-env-mangled",
		}, signer)
	case "signer-differs":
		return signer
	case "upload-refused":
		return []string{"registry-read-only", "pull-through-cache"}
	case "upload-location-wrong":
		return []string{"registry-address-mismatch", "upload-location"}
	case "upload-size-limited":
		return []string{"uploads-limited"}
	case "upload-lost":
		return []string{"registry-replicas"}
	case "upload-fails", "push-fails":
		return append(storage, "uploads-limited")
	case "pull-fails":
		return storage
	case "redirect-unreachable":
		return []string{"s3-redirect-private"}
	}
	return nil
}

// attribute takes away what clients see wherever its cause was found as well, and shows it there:
// one fault has one code, and one thing to do.
func (r *Report) attribute() {
	cause := func(code string, least Severity) *Finding {
		for _, want := range causesOf(code) {
			for i := range r.Findings {
				if f := &r.Findings[i]; f.Code == want && f.Severity >= least {
					return f
				}
			}
		}
		return nil
	}
	explained := map[int]bool{}
	for i, f := range r.Findings {
		by := cause(f.Code, Warning)
		if by == nil {
			continue
		}
		explained[i] = true
		if by.Witness == "" {
			by.Witness = f.Message
		}
	}
	kept := make([]Finding, 0, len(r.Findings))
	for i, f := range r.Findings {
		if !explained[i] {
			kept = append(kept, f)
		}
	}
	r.Findings = kept
	r.Unknown = slices.DeleteFunc(r.Unknown, func(u Unknown) bool { return cause(u.Code, Error) != nil })
}

// ErrNoDocker says that there is no docker command on this machine.
var ErrNoDocker = errors.New("docker is not installed")

// ErrServicesUnknown says that the engine answers and does not tell how the services are, such as
// for a compose file with mistakes.
var ErrServicesUnknown = errors.New("the services' states can't be told")

// EngineHint says what helps where the Docker engine can't be asked.
func EngineHint(err error) string {
	switch {
	case errors.Is(err, ErrNoDocker):
		return "install Docker Engine with its compose plugin: https://docs.docker.com/engine/install/"
	case strings.Contains(err.Error(), "permission denied"):
		return "sudo usermod -aG docker \"$USER\"   lets this user talk to the engine, after the next login; or use sudo"
	case strings.Contains(err.Error(), "://") && !strings.Contains(err.Error(), "/docker.sock"):
		return "DOCKER_HOST or the docker context names another engine than this machine's own: docker context ls   shows which; start that one, or unset DOCKER_HOST"
	}
	return "sudo systemctl start docker   starts the engine; docker info   shows what it says"
}

// ServiceState is what the engine tells of a service of the compose file.
type ServiceState struct {
	Name string
	// State is the engine's word: running, created, exited, paused, restarting, dead; "absent"
	// where there is no container.
	State string
	// Status is the engine's sentence, such as "Exited (1) 2 minutes ago"; may be empty.
	Status string
}

// byServices asks the engine, once clients see a fault, which services do not run: that is the
// cause then, and what clients see shows it.
func (p *prober) byServices(ctx context.Context) {
	symptoms := []string{
		"port-closed", "tls-not-spoken", "tls-untrusted", "tls-wrong-host", "registry-down", "not-a-registry", "registry-open", "challenge-wrong",
		"realm-unreachable", "realm-answers-wrong", "upload-fails", "push-fails", "pull-fails", "bucket-fails",
	}
	i := slices.IndexFunc(p.Findings, func(f Finding) bool { return f.Severity == Error && slices.Contains(symptoms, f.Code) })
	if i < 0 || p.o.Services == nil {
		return
	}
	seen := p.Findings[i]
	services, err := p.o.Services(ctx)
	if err != nil {
		if seen.Code != "port-closed" || errors.Is(err, ErrServicesUnknown) {
			return // something runs, or the files on disk are to be looked at first
		}
		p.Findings = slices.Delete(p.Findings, i, i+1)
		p.find("service-down", "no service can run here: %v", err).
			mend("%s; then: %s", EngineHint(err), p.cmd("up")).Witness = seen.Message
		return
	}
	var down []ServiceState
	for _, s := range services {
		if s.State != "running" {
			down = append(down, s)
		}
	}
	if len(down) == 0 {
		return
	}
	p.Findings = slices.DeleteFunc(p.Findings, func(f Finding) bool { return slices.Contains(symptoms, f.Code) })
	proxyDown := p.caddy != nil && slices.ContainsFunc(down, func(s ServiceState) bool { return s.Name == p.caddy.Name })
	if proxyDown && seen.Code != "port-closed" {
		p.find("port-taken", "another program listens on %s, and service %s does not run", p.hostPort(), p.caddy.Name).
			mend("sudo ss -ltnp 'sport = :%s'   names the program; stop it, then: %s", p.port(), p.cmd("up")).Witness = seen.Message
		return
	}
	if len(down) == len(services) {
		p.find("service-down", "none of the services runs").
			mend("%s   starts them", p.cmd("up")).Witness = seen.Message
		return
	}
	for _, s := range down {
		p.serviceDown(s).Witness = seen.Message
	}
}

func (p *prober) serviceDown(s ServiceState) *Finding {
	words := s.Status
	if words == "" {
		words = s.State
	}
	f := p.find("service-down", "service %s does not run: %s", s.Name, strings.ToLower(words[:1])+words[1:])
	switch s.State {
	case "absent":
		f.Message = fmt.Sprintf("service %s does not run: it has no container", s.Name)
		return f.mend("%s   makes and starts it", p.cmd("up"))
	case "paused":
		return f.mend("%s", p.dockerCompose("unpause "+s.Name))
	case "restarting":
		f.Message = fmt.Sprintf("service %s ends again and again: %s", s.Name, words)
		return f.mend("%s   shows why it ends; %s   explains the lines that are known", p.logsCommand(s.Name), p.cmd("doctor logs"))
	}
	return f.mend("%s   starts it; when it ends again, %s   explains why", p.cmd("up"), p.cmd("doctor logs"))
}
