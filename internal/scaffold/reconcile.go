package scaffold

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// Status is what a second run of init finds of one file. The texts are part of the JSON
// output.
type Status string

// The statuses.
const (
	Unchanged Status = "unchanged" // as it would be generated, or not generated at all any more
	Changed   Status = "changed"   // by the answers, or by a newer version of the program
	Edited    Status = "edited"    // by a person; the answers change nothing of it
	Both      Status = "both"      // by a person and by the answers
	Missing   Status = "missing"   // was generated and is gone
	New       Status = "new"       // was not part of the deployment before
	Unused    Status = "unused"    // the answers don't need it any more
)

// Item is what a second run does about one file or folder.
type Item struct {
	Path   string // relative, with slashes; a folder ends with one
	Status Status
	// Write says that the file is written: New is then its content, and Backup, when not
	// empty, the path that the content it replaces is kept at.
	Write  bool
	Backup string
	Old    []byte // nil = there is no file
	New    []byte
	// Secret: the content is a secret as a whole.
	Secret bool
	// Note says in a clause what is done and why.
	Note string

	mode fs.FileMode
}

// Mode is the mode that the file is written with, or has; 0 for a folder.
func (i Item) Mode() fs.FileMode { return i.mode }

// Disk is a deployment's folder as [Rerun] sees it.
type Disk struct {
	Files   map[string]Existing // of Known, those that are there
	Folders map[string]bool     // those of Dirs that are there
	Backups map[string][]string // for each file the paths of its backups
}

// RerunInput is all that a second run depends on.
type RerunInput struct {
	Disk        Disk
	Record      *Record // nil: the folder was made before there were records, or it is lost
	Old, New    answers.Answers
	OldMaterial Material // as the old answers need it; may be incomplete
	Material    Material // as the new answers need it; users: those whose hash is known
	Force       bool     // replace what a person changed
	Now         time.Time
}

// Rerun is the plan of a second run; see [PlanRerun].
type Rerun struct {
	Items []Item   // by path
	Notes []string // what a person should know, a sentence each, with InitCommand in it
	// Auth and NewAuth are the auth config before and after; nil when it can't be read, or
	// is not there.
	Auth, NewAuth *config.File

	record  safefile.File
	files   []safefile.File // the folder afterwards
	drop    []string        // backups beyond the last few
	dirs    map[string]fs.FileMode
	disk    Disk
	checked bool
}

// InitCommand stands in notes for the command line of the run that they are about, which
// only the caller knows.
const InitCommand = "regctl-setup init DIR"

// backupsKept is how many backups of one file are kept.
const backupsKept = 5

// backupMark stands in the name of a backup, between the file's name and the time.
const backupMark = ".regctl-setup-backup-"

// backupTime is the form of the time: sortable, and without characters that a file
// system refuses.
const backupTime = "20060102T150405Z"

// IsBackup reports whether name is that of a backup of the file.
func IsBackup(file, name string) bool {
	stamp, ok := strings.CutPrefix(name, file+backupMark)
	_, err := time.Parse(backupTime, stamp)
	return ok && err == nil
}

// PlanRerun works out what a second run of init does: the files that the new answers give
// are compared with those on disk and with the record of what was generated. It is pure.
//
// Users, rules and keys are never written again. The auth config gets what the
// answers change, by intent. Other files are replaced when they are as they were
// generated; those that a person changed are kept, but with Force.
//
// The error is [answers.Problems], a fault of the material, or what makes an edit of the
// auth config impossible.
func PlanRerun(in RerunInput) (*Rerun, error) {
	files, err := Plan(in.New, in.Material)
	if err != nil {
		return nil, err
	}
	r := &rerunner{in: in, plan: &Rerun{dirs: Dirs(in.New), disk: in.Disk}, base: map[string][]byte{}, sums: map[string]string{}}
	if old, err := Plan(in.Old, in.OldMaterial); err == nil {
		for _, f := range old {
			r.base[f.Path] = f.Data
		}
	}
	planned := map[string]bool{}
	for _, f := range files {
		planned[f.Path] = true
		if err := r.file(f); err != nil {
			return nil, err
		}
	}
	r.unused(planned)
	r.folders()
	r.finish(files)
	return r.plan, nil
}

type rerunner struct {
	in   RerunInput
	plan *Rerun
	base map[string][]byte // what the old answers give, for comparison
	sums map[string]string // for the next record
}

// generatedSum returns the sum of what was last generated at path, "" when that is not
// known.
func (r *rerunner) generatedSum(path string) string {
	if r.in.Record != nil {
		return r.in.Record.Files[path]
	}
	if data, ok := r.base[path]; ok {
		return safefile.Sum(data)
	}
	return ""
}

func (r *rerunner) add(i Item) {
	if i.Write && i.Backup == "" && i.Status != Unchanged && i.Secret && i.Old != nil {
		i.Backup = r.backup(i.Path)
	}
	r.plan.Items = append(r.plan.Items, i)
}

func (r *rerunner) note(format string, args ...any) {
	r.plan.Notes = append(r.plan.Notes, fmt.Sprintf(format, args...))
}

// backup returns the path for a copy of the file, and drops the oldest ones.
func (r *rerunner) backup(file string) string {
	list := slices.Sorted(slices.Values(r.in.Disk.Backups[file]))
	r.plan.drop = append(r.plan.drop, list[:max(0, len(list)-backupsKept+1)]...)
	name := file + backupMark + r.in.Now.UTC().Format(backupTime)
	for t := r.in.Now; slices.Contains(list, name); {
		t = t.Add(time.Second)
		name = file + backupMark + t.UTC().Format(backupTime)
	}
	return name
}

// file plans one file that the new answers give.
func (r *rerunner) file(f safefile.File) error {
	kind := kindOf(f.Path)
	disk, exists := r.in.Disk.Files[f.Path]
	i := Item{Path: f.Path, New: f.Data, mode: f.Mode, Secret: kind == kindSecret || f.Path == PathKey}
	if !exists {
		i.Status, i.Write, i.Note = New, true, "made"
		_, wasPlanned := r.base[f.Path]
		if r.generatedSum(f.Path) != "" || kind == kindKept && f.Path != PathCACerts || kind == kindAuth || kind == kindAnswers || wasPlanned && r.in.Record == nil || wasPlanned && !kind.recorded() {
			i.Status, i.Note = Missing, "made again"
		}
		r.sums[f.Path] = safefile.Sum(f.Data)
		r.add(i)
		return nil
	}
	i.Old = disk.Data
	same := bytes.Equal(disk.Data, f.Data)
	switch {
	case kind == kindAuth:
		return r.auth(i)
	case kind == kindKept && f.Path != PathCACerts && r.keyLost() && !same:
		i.Status, i.Write, i.Backup = Changed, true, r.backup(f.Path)
		i.Note = "made for the new signing key"
	case kind == kindKept:
		i.Status, i.New = Unchanged, disk.Data
	case kind == kindAnswers:
		r.answers(&i)
	case same:
		i.Status = Unchanged
		r.sums[f.Path] = safefile.Sum(f.Data)
	case kind == kindSecret:
		i.Status, i.Write, i.Note = Changed, true, "replaced by what the answers name"
	default:
		r.template(&i, kind)
	}
	r.add(i)
	return nil
}

// keyLost reports whether a new signing key is made: what belongs to it is then too.
func (r *rerunner) keyLost() bool {
	_, ok := r.in.Disk.Files[PathKey]
	return !ok
}

// template plans a file that is rendered and differs from what is on disk.
func (r *rerunner) template(i *Item, kind fileKind) {
	last := r.generatedSum(i.Path)
	fresh := safefile.Sum(i.New)
	if last == safefile.Sum(i.Old) {
		i.Status, i.Write, i.Note = Changed, true, "changed by the answers"
		if base, ok := r.base[i.Path]; ok && bytes.Equal(base, i.New) {
			i.Note = "changed by this version of regctl-setup"
		}
		r.sums[i.Path] = fresh
		return
	}
	i.Status, i.Note = Both, "changed by hand, and by the answers"
	if last == fresh {
		i.Status, i.Note = Edited, "changed by hand"
	}
	if last == "" {
		i.Status, i.Note = Edited, "not as it would be generated, and what was generated is not known"
	}
	if r.in.Force && kind != kindCases {
		i.Write, i.Backup = true, r.backup(i.Path)
		i.Note += ": replaced"
		r.sums[i.Path] = fresh
		return
	}
	if last != "" {
		r.sums[i.Path] = last
	}
	base, known := r.base[i.Path]
	if kind == kindEnv && i.Status == Both && known && safefile.Sum(base) == last {
		merged, conflicts := mergeEnv(base, i.Old, i.New)
		for _, name := range conflicts {
			r.note("%s: %s was changed by hand and is left, though the answers give it another value", PathEnv, name)
		}
		r.sums[i.Path] = fresh
		if !bytes.Equal(merged, i.Old) {
			i.New, i.Write = merged, true
			i.Note = "changed by hand: kept, with the variables that the answers change brought in"
			return
		}
	}
	i.New = i.Old
	i.Note += ": kept"
	switch {
	case i.Status == Both && kind == kindCases:
		r.note("%s was changed by hand and stays; the answers change what the rules allow, so run regctl-setup acl test", i.Path)
	case i.Status == Both:
		r.note("%s was changed by hand and is kept: it does not get what the answers change. To see what it lacks: %s --diff --force. Put it in by hand, or: %s --force, which takes the generated file and keeps yours beside it",
			i.Path, InitCommand, InitCommand)
	}
}

// answers plans regctl-setup.yaml. A file that says the same in other words is left.
func (r *rerunner) answers(i *Item) {
	recorded, err := answers.ParseYAML(PathAnswers, i.Old)
	i.Status = Unchanged
	if err == nil && bytes.Equal(recorded.Marshal(), i.New) {
		i.New = i.Old
		return
	}
	i.Status, i.Write, i.Note = Changed, true, "records the new answers"
	if err == nil && !bytes.Equal(recorded.Marshal(), i.Old) {
		// Comments and an order of a person's own.
		i.Backup = r.backup(i.Path)
	}
}

// auth plans the edits of the auth config.
func (r *rerunner) auth(i Item) error {
	f, problems := config.Parse(PathAuth, i.Old)
	i.Status = Unchanged
	if f == nil || len(problems) > 0 {
		if err := r.untouched(); err != nil {
			return errors.Join(err, problems)
		}
		r.note("%s has problems; regctl-setup acl lint lists them", PathAuth)
		i.New = i.Old
		r.add(i)
		return nil
	}
	edited, notes, err := editAuth(f, r.in.Old, r.in.New, r.in.Material.Users)
	if err != nil {
		return err
	}
	r.plan.Notes = append(r.plan.Notes, notes...)
	r.plan.Auth, r.plan.NewAuth = f, edited
	i.New = edited.Bytes()
	if !bytes.Equal(i.New, i.Old) {
		i.Status, i.Write, i.Note = Changed, true, "edited for the answers; all else in it stays"
	}
	r.add(i)
	return nil
}

// untouched returns an error when the answers change something of the auth config, which
// can't be read.
func (r *rerunner) untouched() error {
	was, err := generatedAuth(r.in.Old, nil)
	if err != nil {
		return err
	}
	will, err := generatedAuth(r.in.New, nil)
	if err != nil {
		return err
	}
	if bytes.Equal(was.Bytes(), will.Bytes()) {
		return nil
	}
	return fmt.Errorf("%s: the answers change something of it, and it has problems", PathAuth)
}

// unused lists files that the new answers don't give any more. They stay: they may hold
// the only copy of a credential.
func (r *rerunner) unused(planned map[string]bool) {
	for _, p := range Known() {
		disk, exists := r.in.Disk.Files[p]
		if !exists || planned[p] || p == PathRecord || kindOf(p) == kindKept {
			continue
		}
		if sum := r.generatedSum(p); sum != "" {
			r.sums[p] = sum
		}
		r.add(Item{Path: p, Status: Unused, Old: disk.Data, New: disk.Data, mode: disk.Mode.Perm(), Secret: kindOf(p) == kindSecret, Note: "no longer used: left"})
	}
}

// folders lists those that are gone.
func (r *rerunner) folders() {
	old := Dirs(r.in.Old)
	for d := range r.plan.dirs {
		if r.in.Disk.Folders[d] {
			continue
		}
		i := Item{Path: d + "/", Status: New, Note: "made", Write: true}
		if _, had := old[d]; had {
			i.Status, i.Note = Missing, "made again, empty"
		}
		r.add(i)
	}
}

// finish works out the folder afterwards and the next record.
func (r *rerunner) finish(files []safefile.File) {
	slices.SortFunc(r.plan.Items, func(a, b Item) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range files {
		k := slices.IndexFunc(r.plan.Items, func(i Item) bool { return i.Path == f.Path })
		f.Data = r.plan.Items[k].New
		if f.Path == PathAnswers {
			f.Data = r.in.New.Marshal() // Check wants the form that init writes
		}
		r.plan.files = append(r.plan.files, f)
	}
	for p := range r.sums {
		if !kindOf(p).recorded() {
			delete(r.sums, p)
		}
	}
	r.plan.record = Record{
		Version: recordVersion, Project: cmp.Or(r.in.Material.Project, r.in.New.Resolve().ProjectName()),
		Answers: string(r.in.New.Marshal()), Files: r.sums,
	}.File()
	r.warnings()
}

// warnings tells what files can't: what becomes of images and clients.
func (r *rerunner) warnings() {
	was, will := r.in.Old.Resolve(), r.in.New.Resolve()
	if from, to := storePlace(was), storePlace(will); from != to {
		r.note("images do not move: those in %s are not served from %s; copy them there first (the folder docker/ as a whole), or push them again", from, to)
	}
	if was.Host() != will.Host() {
		r.note("images keep their place, but their names begin with %s from now on: clients log in to it anew and pull by that name", will.Host())
		if will.ProjectName() != cmp.Or(r.in.Material.Project, will.ProjectName()) {
			r.note("the compose project stays %q, so that its containers, and its volumes with Caddy's certificates, stay in use; another deployment on this machine must not get that name", r.in.Material.Project)
		}
	}
	if from, to := authority(was), authority(will); from != to && (privateAuthority(was) || privateAuthority(will)) {
		r.note("certificates come from another authority (TLS %s, before %s): clients that were told to trust one must be told again", to, from)
	}
	if was.Registry != will.Registry && r.in.New.Images.Registry != "" {
		r.note("registry %d was answered, and yet the image stays %s, which was answered too; --registry-image names another", will.Registry, r.in.New.Images.Registry)
	}
	if was.AuthEngine() != will.AuthEngine() {
		r.note("engine %s answers token requests from now on, before it was %s; both read the same %s", will.AuthEngine(), was.AuthEngine(), PathAuth)
	}
	for _, team := range will.TeamNames() {
		if !slices.Contains(was.TeamNames(), team) {
			r.note("team %s: users with the labels team=%s and role=developer push to %s%s/", team, team, answers.TeamPrefix, team)
		}
	}
}

// authority says where certificates come from.
func authority(a answers.Answers) string {
	if a.ACMECA != "" {
		return a.TLS + " at " + a.ACMECA
	}
	return a.TLS
}

// privateAuthority reports whether clients may have to be told of where certificates come from.
func privateAuthority(a answers.Answers) bool {
	return a.TLS == answers.TLSInternal || a.ACMECA != ""
}

// storePlace says where images lie.
func storePlace(a answers.Answers) string {
	switch {
	case a.Storage == answers.StorageFilesystem:
		return "data/registry"
	case a.BundlesStore():
		return "data/s3/" + a.S3.Bucket
	case a.UsesS3():
		return "bucket " + a.S3.Bucket + " at " + cmp.Or(a.S3.Endpoint, "AWS "+a.S3.Region)
	case a.Storage == answers.StorageAzure:
		return "container " + a.Azure.Container + " of account " + a.Azure.Account
	}
	return "bucket " + a.GCS.Bucket + " at Google"
}

// Pending reports whether anything would be written, the record aside.
func (p *Rerun) Pending() bool {
	return slices.ContainsFunc(p.Items, func(i Item) bool { return i.Write })
}

// Recorded reports whether the record on disk is as it would be written.
func (p *Rerun) Recorded() bool {
	return bytes.Equal(p.disk.Files[PathRecord].Data, p.record.Data)
}

// Written returns the files that are written, by path.
func (p *Rerun) Written() []string {
	var out []string
	for _, i := range p.Items {
		if i.Write {
			out = append(out, i.Path)
		}
	}
	return out
}

// Check gives the folder as it will be to the parsers that will read it; see [Check].
// What is wrong with files that a person changed, or that are only kept, comes back as
// warnings; what would break logins, or is wrong with a file that is written, as the error.
func (p *Rerun) Check(ctx context.Context) (warnings []error, err error) {
	written := map[string]bool{}
	for _, i := range p.Items {
		written[i.Path] = i.Write
	}
	var errs []error
	for _, f := range check(ctx, p.files).faults {
		switch {
		case f.disagree:
			errs = append(errs, fmt.Errorf("%w: no login would work", f.err))
		case written[f.path] && f.path != PathAuth:
			errs = append(errs, f.err)
		default:
			warnings = append(warnings, f.err)
		}
	}
	p.checked = len(errs) == 0
	return warnings, errors.Join(errs...)
}

// Apply writes the plan into the folder dir, all of it or nothing, through the journal of
// [safefile.FS.Begin], whose errors it returns: [safefile.ErrChanged] when a file is no
// longer what the plan was made from. [Rerun.Check] must have passed before.
func (p *Rerun) Apply(ctx context.Context, fsys safefile.FS, dir string, lock safefile.LockOptions) error {
	if !p.checked {
		return errors.New("the plan was not checked")
	}
	j, err := fsys.Begin(ctx, dir, p.changes(), safefile.JournalOptions{Dirs: p.dirs, Lock: lock})
	if err != nil {
		return err
	}
	return j.Commit(ctx)
}

func (p *Rerun) changes() []safefile.Change {
	var out []safefile.Change
	for _, i := range p.Items {
		if !i.Write || strings.HasSuffix(i.Path, "/") {
			continue
		}
		c := safefile.Change{Path: i.Path, Mode: i.mode, Data: i.New, Expect: safefile.Absent}
		if i.Old != nil {
			c.Expect = safefile.Sum(i.Old)
		}
		out = append(out, c)
		if i.Backup != "" {
			out = append(out, safefile.Change{Path: i.Backup, Mode: p.disk.Files[i.Path].Mode.Perm(), Data: i.Old, Expect: safefile.Absent})
		}
	}
	for _, name := range p.drop {
		out = append(out, safefile.Change{Path: name, Remove: true})
	}
	record := safefile.Change{Path: PathRecord, Mode: p.record.Mode, Data: p.record.Data, Expect: safefile.Absent}
	if old, ok := p.disk.Files[PathRecord]; ok {
		record.Expect = safefile.Sum(old.Data)
	}
	return append(out, record)
}

// ReadDisk reads every known file of the folder dir, and lists the backups. Which folders
// are there is left to the caller, since the answers name them. A file that can't be read
// is an error.
func ReadDisk(dir fs.FS) (Disk, error) {
	d := Disk{Files: map[string]Existing{}, Folders: map[string]bool{}, Backups: map[string][]string{}}
	var errs []error
	listed := map[string][]fs.DirEntry{}
	for _, p := range Known() {
		parent := path.Dir(p)
		if _, seen := listed[parent]; !seen {
			listed[parent], _ = fs.ReadDir(dir, parent) // a file in it that matters fails below
		}
		for _, e := range listed[parent] {
			if name := path.Join(parent, e.Name()); IsBackup(p, name) {
				d.Backups[p] = append(d.Backups[p], name)
			}
		}
		info, err := fs.Stat(dir, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var data []byte
		if err == nil {
			data, err = fs.ReadFile(dir, p)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.Files[p] = Existing{Data: data, Mode: info.Mode()}
	}
	return d, errors.Join(errs...)
}

// Diff returns the unified difference that the plan makes, secrets masked. names gives the
// name that a path is shown by.
func (p *Rerun) Diff(names func(string) string) string {
	var b strings.Builder
	for _, i := range p.Items {
		switch {
		case !i.Write || strings.HasSuffix(i.Path, "/"):
		case i.Secret || bytes.IndexByte(i.New, 0) >= 0 || bytes.IndexByte(i.Old, 0) >= 0:
			fmt.Fprintf(&b, "# %s: %s; the content is not shown\n", names(i.Path), i.Status)
		default:
			from := names(i.Path)
			if i.Old == nil {
				from = ""
			}
			b.WriteString(UnifiedDiff(from, names(i.Path), i.Old, i.New))
		}
	}
	return b.String()
}

// NewTree is the plan of a folder that is not there yet, for showing it.
func NewTree(files []safefile.File, dirs map[string]fs.FileMode) *Rerun {
	p := &Rerun{files: files, dirs: dirs}
	for d := range dirs {
		p.Items = append(p.Items, Item{Path: d + "/", Status: New, Write: true, Note: "made"})
	}
	for _, f := range files {
		secret := kindOf(f.Path) == kindSecret || f.Path == PathKey
		p.Items = append(p.Items, Item{Path: f.Path, Status: New, Write: true, New: f.Data, Secret: secret, Note: "made", mode: f.Mode})
	}
	slices.SortFunc(p.Items, func(a, b Item) int { return cmp.Compare(a.Path, b.Path) })
	return p
}
