//go:build unix

package doctor

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// owners compares the users that services run as with the owners of what they read and write.
func owners(p *pass) {
	wrong, right := map[int]int{}, 0 // files by owner, and those of the service's user
	for _, job := range []struct {
		s     *service
		files []string
	}{
		{p.auth, p.authReads()},
		{p.registry, []string{p.registryFile}},
	} {
		uid, ok := runsAs(job.s)
		if !ok {
			continue
		}
		for _, file := range job.files {
			owner, mode, ok := ownerOf(file)
			if ok && owner == uid && mode&0o400 == 0 {
				p.report(at(p.rel(file)), "mode %04o keeps even its owner out, as whom service %s runs (user %d)", mode, job.s.Name, uid).
					mend("chmod 600 %s   (%s does)", p.shown(p.rel(file)), p.cmd("doctor --fix")).
					makes(p.chmod(file, 0o600))
				continue
			}
			if !ok || owner == uid || mode&0o004 != 0 {
				right++
				continue
			}
			wrong[owner]++
			p.report(at(p.rel(file)), "it belongs to user %d with mode %04o, but service %s runs as user %d", owner, mode, job.s.Name, uid).
				mend("sudo chown %d %s && %s", uid, p.shown(p.rel(file)), p.restart(job.s.Name))
		}
	}
	if p.wrongUser(wrong, right) {
		return
	}
	uid, ok := runsAs(p.registry)
	if !ok || !p.settings.has("storage.filesystem") {
		return
	}
	// The upper folders only: a store that was brought back by another user is wrong from there on.
	for _, below := range []string{"", "/docker", "/docker/registry/v2", "/docker/registry/v2/repositories", "/docker/registry/v2/blobs"} {
		dir := deployment.DataDir + below
		if owner, mode, ok := ownerOf(p.Path(dir)); ok && owner != uid && mode&0o002 == 0 {
			p.report(at(dir), "it belongs to user %d, but the registry runs as user %d: pushes end with 500 while the health check is green", owner, uid).
				mend("sudo chown -R %d %s", uid, p.shown(deployment.DataDir))
			return
		}
	}
}

// wrongUser reports the variable of .env where all files belong to one other user: it is the user
// that was changed then, and not the owner of each file.
func (p *pass) wrongUser(wrong map[int]int, right int) bool {
	l, set := p.envVar("REGISTRY_UID")
	if !set || right > 0 || len(wrong) != 1 {
		return false
	}
	for owner, files := range wrong {
		if files < 2 {
			return false
		}
		uid, err := composeValue(l.raw)
		if err != nil {
			return false
		}
		p.found = nil
		p.report(envAt(l), "the services run as user %s, and all files that they read belong to user %d", uid, owner).
			mend("write REGISTRY_UID='%d', then: %s; or, where user %s is right: sudo chown -R %[3]s %[4]s", owner, p.dockerCompose("up -d"), uid, p.shown("."))
	}
	return true
}

// authReads are the files that only the token server's user may read.
func (f *Facts) authReads() []string {
	out := []string{f.Deployment.Auth}
	if f.Auth != nil {
		if _, key := f.Auth.SigningPair(); key != "" {
			out = append(out, f.Resolve(key))
		}
	}
	return out
}

// runsAs returns the user id of a service that is bound by file modes: it has a user, or it is
// root without the capability to override them.
func runsAs(s *service) (int, bool) {
	if s == nil {
		return 0, false
	}
	if s.User == "" {
		for _, c := range s.CapDrop {
			if strings.EqualFold(c, "ALL") {
				return 0, true
			}
		}
		return 0, false
	}
	name, _, _ := strings.Cut(s.User, ":")
	uid, err := strconv.Atoi(name)
	if err != nil || uid == 0 && len(s.CapDrop) == 0 {
		return 0, false
	}
	return uid, true
}

func ownerOf(path string) (uid int, mode os.FileMode, ok bool) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(sys.Uid), st.Mode().Perm(), true
}
