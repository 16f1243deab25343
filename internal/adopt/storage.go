package adopt

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func (r *reader) inTarget(rel string) string {
	return filepath.Join(r.target, filepath.FromSlash(rel))
}

// storage takes over where the images are. A setting that no answer stands for blocks:
// without it the registry would look for its images elsewhere.
func (r *reader) storage() {
	driver, values := r.v.Storage()
	switch driver {
	case "", "filesystem":
		r.Answers.Storage = answers.StorageFilesystem
		r.disk(values)
	case "s3":
		r.s3(values)
	case "azure":
		r.azure(values)
	case "gcs":
		r.gcs(values)
	default:
		r.block(r.where(), "", "storage %q is none that the generated registry has", driver)
	}
}

// unknown blocks the keys of values that are not in known, and returns the text of those
// that are.
func (r *reader) known(driver string, values map[string]any, known ...string) func(string) string {
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, k) {
			r.block(r.where(), "", "storage.%s.%s (%v) has no answer: without it the registry would not find its images, or store them otherwise", driver, k, shown(k, values[k]))
		}
	}
	return func(key string) string {
		if v, ok := values[key]; ok && v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
}

// shown hides values whose keys sound secret.
func shown(key string, v any) any {
	for _, s := range []string{"key", "secret", "token", "password"} {
		if strings.Contains(key, s) {
			return "…"
		}
	}
	return v
}

func (r *reader) s3(values map[string]any) {
	get := r.known("s3", values, "accesskey", "secretkey", "region", "regionendpoint", "bucket", "forcepathstyle", "secure", "v4auth", "chunksize",
		"multipartcopychunksize", "multipartcopymaxconcurrency", "multipartcopythresholdsize", "skipverify", "encrypt", "accelerate", "usedualstack", "loglevel", "useragent")
	a := &r.Answers
	a.Storage = answers.StorageS3
	a.S3.Bucket, a.S3.Region, a.S3.Endpoint = get("bucket"), get("region"), get("regionendpoint")
	for _, k := range []string{"skipverify", "encrypt", "accelerate", "usedualstack"} {
		if get(k) == "true" {
			r.block(r.where(), "", "storage.s3.%s is on, and no answer stands for it", k)
		}
	}
	if a.S3.Endpoint != "" && !strings.Contains(a.S3.Endpoint, "://") {
		scheme := "https://"
		if get("secure") == "false" {
			scheme = "http://"
		}
		a.S3.Endpoint = scheme + a.S3.Endpoint
	}
	a.S3.Provider = provider(a.S3.Endpoint)
	switch a.S3.Provider {
	case answers.ProviderAWS:
		a.S3.Endpoint = ""
	case answers.ProviderSpaces:
		// What is set is the region that is signed for; the place is in the endpoint.
		if u, err := url.Parse(a.S3.Endpoint); err == nil {
			a.S3.Region, _, _ = strings.Cut(u.Hostname(), ".")
		}
	}
	if _, inside := r.project.Services[hostOf(a.S3.Endpoint)]; inside {
		r.block(r.where(), "run the object store in a project of its own, and publish its port", "the bucket is in service %s of the same compose file, which the generated one does not have", hostOf(a.S3.Endpoint))
	}
	if r.v.Text("storage", "redirect", "disable") == "true" {
		a.S3.Redirect = answers.RedirectOff
	}
	id, key := get("accesskey"), get("secretkey")
	env := func(name string) string {
		if v := r.v.Service.Environment[name]; v != nil {
			return *v
		}
		return ""
	}
	if id == "" || key == "" {
		id, key = env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")
	}
	switch file := env("AWS_SHARED_CREDENTIALS_FILE"); {
	case id != "" && key != "":
		r.m.S3Credentials = scaffold.S3Credentials(secret.New(id), secret.New(key))
		a.S3.CredentialsFile = r.inTarget(scaffold.PathS3Keys)
	case file != "":
		path, err := r.d.HostPath(r.ctx, r.v.Service, file)
		var data []byte
		if err == nil {
			data, err = os.ReadFile(path)
		}
		if err != nil {
			r.block(r.where(), "", "the registry's AWS_SHARED_CREDENTIALS_FILE: %s", err)
		}
		r.m.S3Credentials = secret.New(string(data))
		a.S3.CredentialsFile = r.inTarget(scaffold.PathS3Keys)
	}
	r.kept("bucket %s (%s)", a.S3.Bucket, firstOf(a.S3.Endpoint, "Amazon S3, "+a.S3.Region))
}

// provider returns whose endpoint it is.
func provider(endpoint string) string {
	host := hostOf(endpoint)
	for suffix, p := range map[string]string{
		"amazonaws.com": answers.ProviderAWS, "r2.cloudflarestorage.com": answers.ProviderR2, "backblazeb2.com": answers.ProviderB2,
		"wasabisys.com": answers.ProviderWasabi, "digitaloceanspaces.com": answers.ProviderSpaces,
	} {
		if strings.HasSuffix(host, "."+suffix) {
			return p
		}
	}
	if endpoint == "" {
		return answers.ProviderAWS
	}
	return answers.ProviderGeneric
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func (r *reader) azure(values map[string]any) {
	get := r.known("azure", values, "accountname", "accountkey", "container")
	a := &r.Answers
	a.Storage = answers.StorageAzure
	a.Azure.Account, a.Azure.Container, a.Azure.SecretFile = get("accountname"), get("container"), r.inTarget(scaffold.PathRegistry)
	r.m.AzureSecret = secret.New(get("accountkey"))
	r.kept("container %s of %s", a.Azure.Container, a.Azure.Account)
}

func (r *reader) gcs(values map[string]any) {
	get := r.known("gcs", values, "bucket", "keyfile")
	a := &r.Answers
	a.Storage = answers.StorageGCS
	a.GCS.Bucket = get("bucket")
	if file := get("keyfile"); file != "" {
		path, err := r.d.HostPath(r.ctx, r.v.Service, file)
		var data []byte
		if err == nil {
			data, err = os.ReadFile(path)
		}
		if err != nil {
			r.block(r.where(), "", "storage.gcs.keyfile: %s", err)
		}
		r.m.GCSKey, a.GCS.KeyFile = secret.New(string(data)), r.inTarget(scaffold.PathGCSKey)
	}
	r.kept("bucket %s", a.GCS.Bucket)
}

// disk finds the store on disk, which stays where it is: what has to be moved is said.
func (r *reader) disk(values map[string]any) {
	get := r.known("filesystem", values, "rootdirectory", "maxthreads")
	root := get("rootdirectory")
	if root == "" {
		root = "/var/lib/registry"
	}
	here := r.inTarget("data/registry")
	for _, v := range r.v.Service.Volumes {
		if path.Clean(v.Target) != path.Clean(root) {
			continue
		}
		switch {
		case v.Type == types.VolumeTypeBind && filepath.Clean(v.Source) == here:
			r.kept("the images in data/registry")
			r.Steps = append(r.Steps, "sudo chown -R $(id -u):$(id -g) data/registry")
		case v.Type == types.VolumeTypeBind:
			r.kept("the images, which have to be moved from %s", v.Source)
			r.Steps = append(r.Steps, fmt.Sprintf("sudo cp -a %s/. %s/ && sudo chown -R $(id -u):$(id -g) %s", quoted(v.Source), quoted(here), quoted(here)))
		default:
			volume := v.Source
			if named, ok := r.project.Volumes[v.Source]; ok && named.Name != "" {
				volume = named.Name
			}
			r.kept("the images, which have to be copied from volume %s", volume)
			r.Steps = append(r.Steps, fmt.Sprintf("docker run --rm -v %s:/from:ro -v %s:/to busybox sh -c 'cp -a /from/. /to/ && chown -R '$(id -u):$(id -g)' /to'", volume, quoted(here)))
		}
		return
	}
	r.block(r.where(), "copy them out first (docker compose cp) and mount a folder at "+root, "no mount is at %s: the images are inside the container and go with it", root)
}

// quoted writes a path for a shell.
func quoted(p string) string {
	if strings.Trim(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@:") == "" {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}
