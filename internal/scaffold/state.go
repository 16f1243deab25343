package scaffold

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// PathRecord is what a deployment remembers of its generation; see [Record].
const PathRecord = "state/generated.json"

// recordVersion is the version of the record's format.
const recordVersion = 1

// Record is what was generated last: enough to tell a file that a person changed from
// one that the answers changed. It holds no secret: sums are of whole files, and those
// that hold a secret hold at least 128 bits of random.
type Record struct {
	Version int `json:"version"`
	// Project is the compose project's name, which stays when the domain changes.
	Project string `json:"project"`
	// Answers is regctl-setup.yaml as it was generated from.
	Answers string `json:"answers"`
	// Files gives for each generated file the [safefile.Sum] of its content.
	Files map[string]string `json:"files"`
}

// NewRecord returns the record of a deployment that was just planned from the answers.
func NewRecord(a answers.Answers, files []safefile.File) Record {
	r := Record{Version: recordVersion, Project: a.Resolve().ProjectName(), Answers: string(a.Marshal()), Files: map[string]string{}}
	for _, f := range files {
		if kindOf(f.Path).recorded() {
			r.Files[f.Path] = safefile.Sum(f.Data)
		}
	}
	return r
}

// File returns the record as a file of the deployment. Equal records give equal bytes.
func (r Record) File() safefile.File {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r) // strings and a map of strings: it can't fail
	return safefile.File{Path: PathRecord, Mode: modeSecret, Data: b.Bytes()}
}

// ParseRecord reads a record back.
func ParseRecord(data []byte) (Record, error) {
	var r Record
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("%s: %w", PathRecord, err)
	}
	if r.Version != recordVersion {
		return Record{}, fmt.Errorf("%s: version %d is not known; expected %d", PathRecord, r.Version, recordVersion)
	}
	if r.Files == nil {
		return Record{}, errors.New(PathRecord + ": names no files")
	}
	return r, nil
}

// fileKind says what may happen to a file when answers change.
type fileKind int

const (
	kindTemplate fileKind = iota // rendered again, unless a person has changed it
	kindEnv                      // the same, but line by line
	kindAnswers                  // regctl-setup.yaml
	kindCases                    // the test cases: as a template, but never replaced once a person changed them
	kindProgram                  // this program, for an image
	kindSecret                   // below secrets/: taken from disk, replaced only by an answer
	kindKept                     // never written again once it is there
	kindAuth                     // never rendered again; edited by intent
)

func kindOf(path string) fileKind {
	switch path {
	case PathAuth:
		return kindAuth
	case PathEnv:
		return kindEnv
	case PathAnswers:
		return kindAnswers
	case PathEngine:
		return kindProgram
	case PathACLTests:
		return kindCases
	case PathLDAPCA, PathACMERoot:
		return kindSecret
	case PathKey, PathCert, PathCAKey, PathCACert, PathBundle, PathJWKS, PathCACerts:
		return kindKept
	}
	if strings.HasPrefix(path, "secrets/") {
		return kindSecret
	}
	return kindTemplate
}

// recorded reports whether the record holds the file's sum.
func (k fileKind) recorded() bool {
	return k == kindTemplate || k == kindEnv || k == kindCases || k == kindProgram
}

// logins lists the external logins that there are.
func logins() []string {
	return []string{answers.LoginLDAP, answers.LoginOIDC, answers.LoginGitHub, answers.LoginGitLab, answers.LoginGoogle}
}

// Existing is a file of a deployment as it is on disk.
type Existing struct {
	Data []byte
	Mode fs.FileMode
}

// Known lists every path that a deployment may have a generated file at.
func Known() []string {
	paths := []string{
		PathEnv, PathGitignore, PathACLTests, PathAuth, PathCaddyfile, PathKey, PathCert, PathRegistry, PathBundle, PathJWKS,
		PathCompose, PathDockerfile, PathCACerts, PathEngine, PathAnswers, PathGCSKey, PathMinIOSecret, PathMinIOUser, PathS3Keys,
		PathTLSCert, PathTLSKey, PathVersityGW, PathRecord, PathCache, PathLDAPCA, PathACMERoot, PathCAKey, PathCACert, PathEventsSecret, PathAuditSecret,
	}
	for _, login := range logins() {
		paths = append(paths, PathLoginSecret(login))
	}
	return paths
}
