//go:build e2e && linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// home is where one user of a client keeps things, and the environment of the commands.
type home struct {
	t   *testing.T
	dir string
	env []string
}

func newHome(t *testing.T, extra ...string) home {
	t.Helper()
	dir := shortDir(t)
	mustMkdir(t, filepath.Join(dir, ".docker"))
	return home{t: t, dir: dir, env: environ(dir, extra...)}
}

// run runs a part.
func (h home) run(in, program string, args ...string) result {
	h.t.Helper()
	return execute(h.t, in, h.env, append([]string{part(h.t, program)}, args...)...)
}

// inOrder runs steps up to the first that fails, and returns the last that ran.
func inOrder(steps ...func() result) result {
	var r result
	for _, step := range steps {
		if r = step(); r.status != 0 {
			break
		}
	}
	return r
}

// trustAsContainers puts the CA where podman, buildah and skopeo look for it.
func (h home) trustAsContainers(s *stack) {
	h.t.Helper()
	dir := filepath.Join(h.dir, ".config", "containers", "certs.d", s.host)
	mustMkdir(h.t, dir)
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		h.t.Fatal(err)
	}
	mustWrite(h.t, filepath.Join(dir, "ca.crt"), pem, 0o644)
}

// dockerConfig writes credentials as `docker login` leaves them.
func (h home) dockerConfig(host string, a account) result {
	h.t.Helper()
	data, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(a.Name + ":" + a.Password))}}})
	if err != nil {
		h.t.Fatal(err)
	}
	mustWrite(h.t, filepath.Join(h.dir, ".docker", "config.json"), data, 0o600)
	return result{}
}

func dockerClient(t *testing.T, _ []*stack) opener {
	e := startEngine(t)
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "DOCKER_HOST=unix://"+e.socket, "SSL_CERT_FILE="+s.ca)
		docker := func(args ...string) func() result {
			return func() result { return h.run("", "docker", args...) }
		}
		return session{
			login: func(a account) result {
				return h.run(a.Password, "docker", "login", "-u", a.Name, "--password-stdin", s.host)
			},
			push: func(i clientImage, ref string) result {
				return inOrder(docker("load", "-i", i.amd64), docker("tag", i.amd64Name, ref), docker("push", ref))
			},
			index: func(i clientImage, ref string) result {
				return inOrder(docker("load", "-i", i.amd64), docker("tag", i.amd64Name, ref+"-amd64"), docker("push", ref+"-amd64"),
					docker("load", "-i", i.arm64), docker("tag", i.arm64Name, ref+"-arm64"), docker("push", ref+"-arm64"),
					docker("manifest", "create", ref, ref+"-amd64", ref+"-arm64"), docker("manifest", "push", ref))
			},
			pull: func(ref string) result { return docker("pull", ref)() },
			mount: func(from, to string) result {
				return inOrder(docker("pull", from), docker("tag", from, to), docker("push", to))
			},
		}
	}
}

// shortDir is a folder with a short name in lower case: a socket's path has at most 107 bytes,
// podman takes a runroot of at most 50, and makes a repository's name of an image's path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-cl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func ctrClient(t *testing.T, _ []*stack) opener {
	if os.Getuid() != 0 {
		missing(t, "containerd takes root")
	}
	dir := shortDir(t)
	socket := filepath.Join(dir, "c.sock")
	// Without what writes outside of the folder, or needs a network plugin.
	mustWrite(t, filepath.Join(dir, "config.toml"), fmt.Appendf(nil, `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket), 0o600)
	p := start(t, "containerd", environ(dir), part(t, "containerd"), "--config", filepath.Join(dir, "config.toml"))
	p.until(t, "containerd", answers(t, part(t, "ctr"), "-a", socket, "version"))
	namespaces := 0
	return func(t *testing.T, s *stack) session {
		h := newHome(t)
		namespaces++
		namespace := fmt.Sprintf("n%d", namespaces)
		hosts := filepath.Join(h.dir, "hosts")
		mustMkdir(t, filepath.Join(hosts, s.host))
		mustWrite(t, filepath.Join(hosts, s.host, "hosts.toml"), fmt.Appendf(nil, "server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n  ca = %q\n", s.base, s.base, s.ca), 0o644)
		var user account
		images := func(args ...string) func() result {
			return func() result {
				return h.run("", "ctr", append([]string{"-a", socket, "-n", namespace, "images"}, args...)...)
			}
		}
		remote := func(args ...string) func() result {
			return images(append([]string{args[0], "--hosts-dir", hosts, "--user", user.Name + ":" + user.Password}, args[1:]...)...)
		}
		return session{
			login: func(a account) result { user = a; return result{} },
			push: func(i clientImage, ref string) result {
				return inOrder(images("import", "--no-unpack", "--base-name", i.archiveBase, i.archive), remote("push", ref, i.archiveBase+":latest"))
			},
			index: func(i clientImage, ref string) result {
				return inOrder(images("import", "--no-unpack", "--all-platforms", "--base-name", i.archiveIndex, i.indexArchive), remote("push", ref, i.archiveIndex+":latest"))
			},
			pull: func(ref string) result { return remote("pull", "--snapshotter", "native", ref)() },
			mount: func(from, to string) result {
				return inOrder(remote("pull", "--snapshotter", "native", from), remote("push", to, from))
			},
		}
	}
}

// answers is for process.until: a command that ends with status 0.
func answers(t *testing.T, argv ...string) func() error {
	return func() error {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = environ(t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
}

// startBuildkit starts a BuildKit that trusts the CAs of the stacks, and returns its address.
func startBuildkit(t *testing.T, stacks []*stack) string {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "buildkitd takes root")
	}
	dir := shortDir(t)
	var conf strings.Builder
	for _, s := range stacks {
		// Said, since clients make exceptions of localhost.
		fmt.Fprintf(&conf, "[registry.%q]\n  http = false\n  ca = [%q]\n", s.host, s.ca)
	}
	mustWrite(t, filepath.Join(dir, "buildkitd.toml"), []byte(conf.String()), 0o600)
	address := "unix://" + filepath.Join(dir, "b.sock")
	p := start(t, "buildkitd", environ(dir), part(t, "buildkitd"), "--addr", address, "--root", filepath.Join(dir, "root"),
		"--config", filepath.Join(dir, "buildkitd.toml"), "--containerd-worker=false", "--oci-worker-snapshotter=native", "--oci-worker-net=host")
	p.until(t, "BuildKit", answers(t, part(t, "buildctl"), "--addr", address, "debug", "workers"))
	return address
}

// from writes a folder to build from, with one base image.
func (h home) from(ref string) string {
	h.t.Helper()
	dir := h.t.TempDir()
	mustWrite(h.t, filepath.Join(dir, "Dockerfile"), []byte("FROM "+ref+"\nLABEL by=e2e\n"), 0o644)
	return dir
}

func buildctlClient(t *testing.T, stacks []*stack) opener {
	address := startBuildkit(t, stacks)
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "SSL_CERT_FILE="+s.ca) // the client fetches the tokens
		build := func(dir, output string, more ...string) result {
			return h.run("", "buildctl", append([]string{"--addr", address, "build", "--progress=plain", "--frontend=dockerfile.v0",
				"--local=context=" + dir, "--local=dockerfile=" + dir, "--output=" + output}, more...)...)
		}
		push := func(ref string) string { return "type=image,push=true,name=" + ref }
		return session{
			login: func(a account) result { return h.dockerConfig(s.host, a) },
			push:  func(i clientImage, ref string) result { return build(i.context, push(ref)) },
			index: func(i clientImage, ref string) result {
				return build(i.context, push(ref), "--opt=platform=linux/amd64,linux/arm64")
			},
			pull:  func(ref string) result { return build(h.from(ref), "type=oci,dest="+filepath.Join(h.dir, "out.tar")) },
			mount: func(from, to string) result { return build(h.from(from), push(to)) },
		}
	}
}

func buildxClient(t *testing.T, stacks []*stack) opener {
	address := startBuildkit(t, stacks)
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "DOCKER_HOST=unix:///nonexistent", "SSL_CERT_FILE="+s.ca)
		if r := h.run("", "buildx", "create", "--name", "e2e", "--driver", "remote", address); r.status != 0 {
			t.Fatalf("buildx create: %v", r)
		}
		build := func(dir string, more ...string) result {
			return h.run("", "buildx", append([]string{"build", "--builder", "e2e", "--progress=plain", dir}, more...)...)
		}
		return session{
			login: func(a account) result { return h.dockerConfig(s.host, a) },
			push:  func(i clientImage, ref string) result { return build(i.context, "--push", "-t", ref) },
			index: func(i clientImage, ref string) result {
				return build(i.context, "--push", "-t", ref, "--platform", "linux/amd64,linux/arm64")
			},
			pull: func(ref string) result {
				return build(h.from(ref), "--output", "type=oci,dest="+filepath.Join(h.dir, "out.tar"))
			},
			mount: func(from, to string) result { return build(h.from(from), "--push", "-t", to) },
		}
	}
}

// containersClient is podman and buildah, which have these commands in common. global are the
// options before the command.
func containersClient(program string, global func(dir string) []string) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "auth.json"))
		h.trustAsContainers(s)
		storage := global(h.dir)
		do := func(in string, args ...string) result {
			return h.run(in, program, append(slices.Clone(storage), args...)...)
		}
		step := func(args ...string) func() result { return func() result { return do("", args...) } }
		return session{
			login: func(a account) result { return do(a.Password, "login", "-u", a.Name, "--password-stdin", s.host) },
			push: func(i clientImage, ref string) result {
				r := do("", "pull", "-q", "oci:"+i.layout+":latest")
				if r.status != 0 {
					return r
				}
				return do("", "push", strings.TrimSpace(r.stdout), "docker://"+ref)
			},
			index: func(i clientImage, ref string) result {
				return inOrder(step("manifest", "create", "multi"), step("manifest", "add", "--all", "multi", "oci:"+i.index+":latest"),
					step("manifest", "push", "--all", "multi", "docker://"+ref))
			},
			pull: func(ref string) result { return do("", "pull", "docker://"+ref) },
			mount: func(from, to string) result {
				return inOrder(step("pull", "docker://"+from), step("push", from, "docker://"+to))
			},
		}
	}
}

func podmanClient(*testing.T, []*stack) opener {
	return containersClient("podman", func(dir string) []string {
		return []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
			"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	})
}

func buildahClient(*testing.T, []*stack) opener {
	return containersClient("buildah", func(dir string) []string {
		return []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	})
}

func skopeoClient(*testing.T, []*stack) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "auth.json"))
		h.trustAsContainers(s)
		copies := func(args ...string) result {
			return h.run("", "skopeo", append([]string{"--insecure-policy", "copy"}, args...)...)
		}
		return session{
			login: func(a account) result {
				return h.run(a.Password, "skopeo", "login", "-u", a.Name, "--password-stdin", s.host)
			},
			push: func(i clientImage, ref string) result { return copies("oci:"+i.layout+":latest", "docker://"+ref) },
			index: func(i clientImage, ref string) result {
				return copies("--all", "oci:"+i.index+":latest", "docker://"+ref)
			},
			pull:   func(ref string) result { return copies("docker://"+ref, "oci:"+filepath.Join(h.dir, "out")+":latest") },
			delete: func(ref string) result { return h.run("", "skopeo", "delete", "docker://"+ref) },
			// It mounts what it remembers to have read from there.
			mount: func(from, to string) result {
				return inOrder(
					func() result { return copies("docker://"+from, "oci:"+filepath.Join(h.dir, "base")+":latest") },
					func() result { return copies("docker://"+from, "docker://"+to) })
			},
		}
	}
}

func craneClient(*testing.T, []*stack) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t, "SSL_CERT_FILE="+s.ca)
		crane := func(args ...string) result { return h.run("", "crane", args...) }
		return session{
			login: func(a account) result {
				return h.run(a.Password, "crane", "auth", "login", s.host, "-u", a.Name, "--password-stdin")
			},
			push:   func(i clientImage, ref string) result { return crane("push", i.layout, ref) },
			index:  func(i clientImage, ref string) result { return crane("push", i.index, ref) },
			pull:   func(ref string) result { return crane("pull", ref, filepath.Join(h.dir, "out.tar")) },
			delete: func(ref string) result { return crane("delete", ref) },
			mount:  func(from, to string) result { return crane("copy", from, to) },
		}
	}
}

func regctlClient(*testing.T, []*stack) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t)
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			t.Fatal(err)
		}
		regctl := func(args ...string) result { return h.run("", "regctl", args...) }
		if r := regctl("registry", "set", s.host, "--skip-check", "--cacert", string(pem)); r.status != 0 {
			t.Fatalf("regctl registry set: %v", r)
		}
		return session{
			login: func(a account) result {
				return h.run(a.Password, "regctl", "registry", "login", s.host, "-u", a.Name, "--pass-stdin")
			},
			push: func(i clientImage, ref string) result {
				return regctl("image", "copy", "ocidir://"+i.layout+":latest", ref)
			},
			index: func(i clientImage, ref string) result {
				return regctl("image", "copy", "ocidir://"+i.index+":latest", ref)
			},
			pull: func(ref string) result {
				return regctl("image", "copy", ref, "ocidir://"+filepath.Join(h.dir, "out")+":latest")
			},
			delete: func(ref string) result { return regctl("manifest", "delete", ref) },
			mount:  func(from, to string) result { return regctl("image", "copy", from, to) },
		}
	}
}

// orasClient says that localhost is no plain HTTP, as oras takes it to be.
func orasClient(*testing.T, []*stack) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t)
		oras := func(args ...string) result { return h.run("", "oras", args...) }
		push := func(layout, ref string) result {
			return oras("cp", "--no-tty", "--from-oci-layout", layout+":latest", "--to-plain-http=false", "--to-ca-file", s.ca, ref)
		}
		return session{
			login: func(a account) result {
				return h.run(a.Password, "oras", "login", "--plain-http=false", "--ca-file", s.ca, "-u", a.Name, "--password-stdin", s.host)
			},
			push:  func(i clientImage, ref string) result { return push(i.layout, ref) },
			index: func(i clientImage, ref string) result { return push(i.index, ref) },
			pull: func(ref string) result {
				return oras("cp", "--no-tty", "--from-plain-http=false", "--from-ca-file", s.ca, ref, "--to-oci-layout", filepath.Join(h.dir, "out")+":latest")
			},
			delete: func(ref string) result {
				return oras("manifest", "delete", "--force", "--plain-http=false", "--ca-file", s.ca, ref)
			},
			mount: func(from, to string) result {
				return oras("cp", "--no-tty", "--from-plain-http=false", "--to-plain-http=false", "--from-ca-file", s.ca, "--to-ca-file", s.ca, from, to)
			},
		}
	}
}

func helmClient(*testing.T, []*stack) opener {
	return func(t *testing.T, s *stack) session {
		h := newHome(t)
		return session{
			login: func(a account) result {
				return h.run(a.Password, "helm", "registry", "login", s.host, "--ca-file", s.ca, "-u", a.Name, "--password-stdin")
			},
			// A chart's name is the last part of its repository, and its version the tag.
			push: func(i clientImage, ref string) result {
				repo, version, _ := strings.Cut(strings.TrimPrefix(ref, s.host+"/"), ":")
				chart := filepath.Join(h.t.TempDir(), path.Base(repo))
				mustMkdir(t, chart)
				mustWrite(t, filepath.Join(chart, "Chart.yaml"), fmt.Appendf(nil, "apiVersion: v2\nname: %s\nversion: %s\ndescription: %s\n", path.Base(repo), version, i.amd64Name), 0o644)
				return inOrder(
					func() result { return h.run("", "helm", "package", chart, "-d", h.dir) },
					func() result {
						return h.run("", "helm", "push", filepath.Join(h.dir, path.Base(repo)+"-"+version+".tgz"), "oci://"+s.host+"/"+path.Dir(repo), "--ca-file", s.ca)
					})
			},
			pull: func(ref string) result {
				repo, version, _ := strings.Cut(strings.TrimPrefix(ref, s.host+"/"), ":")
				return h.run("", "helm", "pull", "oci://"+s.host+"/"+repo, "--version", version, "--ca-file", s.ca, "-d", h.dir)
			},
		}
	}
}
