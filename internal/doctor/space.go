package doctor

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// How little space on a disk is worth a word, in bytes: a layer may be some gigabytes.
const (
	spaceLow  = 2 << 30
	spaceGone = 256 << 20
)

func spaceChecks() []Check {
	return []Check{{
		Code: "disk-low", Severity: Warning,
		Title: "a disk for images or the audit log that is nearly full",
		Why:   "pushes end with 500 once it is full, and with audit: required the token server answers 503 to everybody",
		Mend:  "make room: delete images and run the registry's garbage collection, or move the folder to a larger disk",
		run: func(p *pass) {
			type disk struct{ free, total uint64 }
			seen := map[disk]bool{} // folders of one disk are told once
			for _, dir := range p.growing() {
				free, total, err := p.space(dir)
				if err != nil || total == 0 || free >= spaceLow || seen[disk{free, total}] {
					continue
				}
				seen[disk{free, total}] = true
				f := p.report(at(p.rel(dir)), "its disk has %s left of %s", sizeText(free), sizeText(total)).
					mend("%s", p.makeRoom(dir))
				if free < spaceGone {
					f.Severity = Error
				}
			}
		},
	}}
}

// makeRoom says what takes the space, and how the registry gives back that of deleted images: it
// must not run meanwhile.
func (p *pass) makeRoom(dir string) string {
	text := fmt.Sprintf("du -xh --max-depth=2 %s | sort -h | tail   shows what takes the space", p.shown(p.rel(dir)))
	if !p.settings.has("storage.filesystem") || p.registry == nil || p.Embedded || len(p.registry.Command) == 0 {
		return text
	}
	name := p.registry.Name
	config := p.registry.Command[len(p.registry.Command)-1]
	return text + fmt.Sprintf("; that of deleted images comes back by: %s && %s && %s",
		p.dockerCompose("stop "+name), p.dockerCompose("run --rm "+name+" garbage-collect "+config), p.dockerCompose("start "+name))
}

// growing are the folders on this machine that grow while the registry runs, those that exist.
func (f *Facts) growing() []string {
	var dirs []string
	if root := f.settings.text("storage.filesystem.rootdirectory"); root != "" && f.registry != nil {
		if host, mounted := f.registry.inside(root); mounted {
			dirs = append(dirs, host)
		}
	}
	if f.generated {
		dirs = append(dirs, f.Path(deployment.DataDir))
	}
	if dir := f.auditDir(); dir != "" {
		dirs = append(dirs, dir)
	}
	var out []string
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			out = append(out, dir)
		}
	}
	return out
}

// auditService reports whether docker_auth has a service beside it that keeps the audit log.
func (f *Facts) auditService() bool {
	return f.Answers != nil && !f.Embedded && !f.Bundled && f.Answers.HasAuditService()
}

// auditDir is the folder of the audit log that a server keeps; "" where none does.
func (f *Facts) auditDir() string {
	if !f.Bundled && !f.auditService() || f.Auth == nil || f.Auth.Extras.Audit.Mode == config.AuditOff {
		return ""
	}
	dir := filepath.FromSlash(f.Auth.Extras.Audit.Path)
	if !filepath.IsAbs(dir) {
		dir = f.Path(f.Auth.Extras.Audit.Path)
	}
	return dir
}
