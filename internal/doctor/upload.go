package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// tokenOf reads a token endpoint's answer.
func tokenOf(body []byte) (string, error) {
	var a struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return "", errors.New("the token endpoint's answer is no JSON object")
	}
	if a.Token == "" {
		a.Token = a.AccessToken
	}
	if a.Token == "" {
		return "", errors.New("the token endpoint's answer holds no token")
	}
	return a.Token, nil
}

func repositoryAccess(actions ...string) token.Access {
	return token.Access{Type: "repository", Name: ProbeRepository, Actions: actions}
}

// uploads opens an upload session, sends two chunks, and cancels it.
func (p *prober) uploads(ctx context.Context) bool {
	if p.signer == nil {
		p.unsure("upload-refused", "no token could be made for an upload")
		return false
	}
	p.step("an upload, in two chunks, cancelled")
	// Cancelling an upload takes the right to delete.
	raw, err := p.sign(repositoryAccess("pull", "push", "delete"))
	if err != nil {
		p.unsure("upload-refused", "no token could be made: %v", err)
		return false
	}
	session, ok := p.begin(ctx, raw)
	if !ok {
		return false
	}
	chunk := bytes.Repeat([]byte("regctl-setup doctor\n"), 3<<10) // 60 KiB
	for n := range 2 {
		got, err := p.sendChunk(ctx, session.location, raw, chunk, "Content-Range", fmt.Sprintf("%d-%d", n*len(chunk), (n+1)*len(chunk)-1))
		if err != nil {
			p.find("upload-fails", "chunk %d of an upload: %v", n+1, err).mend("%s   shows why", p.logsCommand("registry"))
			return false
		}
		if got.status != http.StatusAccepted {
			p.chunkRefused(got, n+1)
			return false
		}
		if next, err := p.locate(session.location, got.header.Get("Location")); err == nil {
			session.location = next
		}
	}
	return true
}

// session is an upload that is open. Its location changes with every chunk, and it is cancelled by
// the newest.
type session struct{ location string }

// sendChunk sends a part of an upload. An interruption waits for its answer a while: without the
// location in it the upload could not be cancelled any more.
func (p *prober) sendChunk(ctx context.Context, location, raw string, data []byte, header ...string) (answer, error) {
	const patience = 10 * time.Second
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	defer stop()
	limit := p.o.Timeout
	if len(data) == p.o.LayerSize {
		limit = largeLimit
	}
	return p.doWithin(lasting, limit, http.MethodPatch, location, raw, bytes.NewReader(data), append(header, "Content-Type", "application/octet-stream")...)
}

// begin opens an upload session and sees to it that it is cancelled at the end. It checks the
// Location: clients send their layers there.
func (p *prober) begin(ctx context.Context, raw string) (*session, bool) {
	got, err := p.do(ctx, http.MethodPost, "/v2/"+ProbeRepository+"/blobs/uploads/", raw, nil)
	switch {
	case err != nil:
		p.find("upload-fails", "opening an upload: %v", err).mend("%s", p.storageHint())
		return nil, false
	case got.status == http.StatusAccepted:
	case got.status == http.StatusMethodNotAllowed:
		p.find("upload-refused", "the registry takes no uploads (405): it is switched to reading only, or is a cache").
			mend("write readonly: {enabled: false} under storage.maintenance, or remove the proxy section, then: %s", p.restart("registry"))
		return nil, false
	case got.status >= http.StatusInternalServerError:
		p.find("upload-fails", "opening an upload ends with %d: most often the registry can't write to its storage", got.status).
			mend("%s", p.storageHint()).Witness = got.line()
		return nil, false
	default:
		p.find("upload-refused", "opening an upload with a token for it ends with %d", got.status).Witness = got.line()
		return nil, false
	}
	stated := got.header.Get("Location")
	location, err := p.locate("/v2/"+ProbeRepository+"/blobs/uploads/", stated)
	if err != nil {
		p.find("upload-location-wrong", "the Location of the upload is no URL")
		return nil, false
	}
	s := &session{location}
	p.undo = append(p.undo, func(ctx context.Context) { _, _ = p.do(ctx, http.MethodDelete, s.location, raw, nil) })
	if u, err := url.Parse(stated); err == nil && u.IsAbs() && (u.Scheme != p.base.Scheme || u.Host != p.base.Host) {
		p.find("upload-location-wrong", "the registry sends uploads to %s://%s, and clients reach it at %s://%s", u.Scheme, u.Host, p.base.Scheme, p.base.Host).
			mend("write relativeurls: true under http in the registry's configuration, then: %s", p.restart("registry"))
		return nil, false
	}
	return s, true
}

// storageHint says how the storage's fault is found.
func (p *prober) storageHint() string {
	if p.settings.has("storage.s3") {
		return p.cmd("doctor --write") + "   tries the bucket with the registry's own settings and keys, and says what to correct"
	}
	return fmt.Sprintf("%s   shows why; ls -ln %s   shows whose the disk is", p.logsCommand("registry"), p.shown("data/registry"))
}

// locate resolves a Location, and keeps to the registry's own address: a wrong one was reported.
func (p *prober) locate(from, location string) (string, error) {
	at, err := p.base.Parse(from)
	if err != nil {
		return "", err
	}
	u, err := at.Parse(location)
	if err != nil || location == "" {
		return "", errors.New("no location")
	}
	u.Scheme, u.Host = p.base.Scheme, p.base.Host
	return u.String(), nil
}

func (p *prober) chunkRefused(got answer, n int) {
	switch {
	case got.status == http.StatusRequestEntityTooLarge:
		f := p.find("upload-size-limited", "chunk %d of an upload ends with 413: a proxy on the way limits what may be sent", n)
		if strings.EqualFold(got.header.Get("Server"), "cloudflare") {
			f.mend("switch Cloudflare's proxy off for this name (DNS only): its limit is 100 MB on most plans")
		}
	case got.status == http.StatusNotFound:
		p.find("upload-lost", "chunk %d of an upload ends with 404: the registry does not know the upload that it has just opened", n).Witness = got.line()
	default:
		p.find("upload-fails", "chunk %d of an upload ends with %d", n, got.status).mend("%s   shows why", p.logsCommand("registry")).Witness = got.line()
	}
}

// defaultLayer is the size of the layer that is pushed, in bytes; largeLimit is how long that may take.
const (
	defaultLayer = 32 << 20
	largeLimit   = 5 * time.Minute
)

// blob is content with its digest.
type blob struct {
	data   []byte
	digest string
}

func newBlob(data []byte) blob {
	sum := sha256.Sum256(data)
	return blob{data, "sha256:" + hex.EncodeToString(sum[:])}
}

// pushes goes the way of docker push and docker pull, and takes away what can be taken away.
func (p *prober) pushes(ctx context.Context) bool {
	if !p.verified {
		p.unsure("push-fails", "nothing is pushed to a server whose certificate is not trusted: give its authority with --ca")
		return false
	}
	raw, err := p.sign(repositoryAccess("pull", "push", "delete"))
	if err != nil {
		p.unsure("push-fails", "no token could be made: %v", err)
		return false
	}
	content := make([]byte, p.o.LayerSize)
	if _, err := io.ReadFull(rand.Reader, content); err != nil {
		p.unsure("push-fails", "no random content: %v", err)
		return false
	}
	layer, config := newBlob(content), newBlob([]byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	manifest := newBlob(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":%q},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":%d,"digest":%q}]}`,
		manifestType, len(config.data), config.digest, len(layer.data), layer.digest))
	p.step("a push of %s to %s", sizeText(len(layer.data)), ProbeRepository)
	for _, b := range []blob{layer, config} {
		if !p.push(ctx, raw, b) {
			return false
		}
	}
	got, err := p.do(ctx, http.MethodPut, manifestPath(probeTag), raw, bytes.NewReader(manifest.data), "Content-Type", manifestType)
	if err != nil || got.status != http.StatusCreated {
		p.pushFails("the manifest", got, err)
		return false
	}
	p.undo = append(p.undo, func(ctx context.Context) {
		_, _ = p.do(ctx, http.MethodDelete, manifestPath(manifest.digest), raw, nil) // 404 after the removal below
	})
	p.pulls(ctx, raw, layer, manifest)
	p.mounts(ctx, raw, layer)
	p.listed(ctx)
	p.guarded(ctx, raw)
	p.audited(ctx, manifest.digest)
	p.deletes(ctx, raw, manifest)
	return true
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	probeTag     = "probe"
)

func manifestPath(reference string) string {
	return "/v2/" + ProbeRepository + "/manifests/" + reference
}

// push uploads a blob as clients do: one request for all of it, then its digest.
func (p *prober) push(ctx context.Context, raw string, b blob) bool {
	before := len(p.undo)
	session, ok := p.begin(ctx, raw)
	if !ok {
		return false
	}
	got, err := p.sendChunk(ctx, session.location, raw, b.data)
	if err != nil || got.status != http.StatusAccepted {
		p.pushFails("a layer of "+sizeText(len(b.data)), got, err)
		return false
	}
	if session.location, err = p.locate(session.location, got.header.Get("Location")); err != nil {
		p.find("upload-location-wrong", "the Location after a layer is no URL")
		return false
	}
	u, err := url.Parse(session.location)
	if err != nil {
		return false
	}
	q := u.Query()
	q.Set("digest", b.digest)
	u.RawQuery = q.Encode()
	got, err = p.doWithin(ctx, largeLimit, http.MethodPut, u.String(), raw, nil)
	if err != nil || got.status != http.StatusCreated {
		p.pushFails("a layer of "+sizeText(len(b.data)), got, err)
		return false
	}
	p.undo = p.undo[:before] // the session has ended
	return true
}

// sizeText is a size in bytes for people.
func sizeText[N int | uint64](n N) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

func (p *prober) pushFails(what string, got answer, err error) {
	if err != nil {
		p.find("push-fails", "pushing %s: %v", what, err).mend("%s   shows why", p.logsCommand("registry"))
		return
	}
	if got.status == http.StatusRequestEntityTooLarge {
		p.chunkRefused(got, 1)
		return
	}
	p.find("push-fails", "pushing %s ends with %d", what, got.status).mend("%s   shows why", p.logsCommand("registry")).Witness = got.line()
}

// pulls fetches manifest and layer, following the redirect to the store as clients do: without the
// token.
func (p *prober) pulls(ctx context.Context, raw string, layer, manifest blob) {
	p.step("a pull of it")
	got, err := p.do(ctx, http.MethodGet, manifestPath(probeTag), raw, nil, "Accept", manifestType)
	if err != nil || got.status != http.StatusOK || newBlob(got.body).digest != manifest.digest {
		p.pullFails("the manifest", got, err)
		return
	}
	limited, cancel := context.WithTimeout(ctx, largeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, p.base.String()+"/v2/"+ProbeRepository+"/blobs/"+layer.digest, http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	resp, err := p.client.Do(req)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		target, bad := req.URL.Parse(resp.Header.Get("Location"))
		if bad != nil {
			p.find("redirect-unreachable", "the registry sends pulls to no URL")
			return
		}
		again, bad := http.NewRequestWithContext(limited, http.MethodGet, target.String(), http.NoBody)
		if bad != nil {
			return
		}
		if resp, err = p.client.Do(again); err != nil {
			p.find("redirect-unreachable", "the registry sends pulls to %s, which can't be reached from here: %v", target.Host, plainError(err)).
				mend("add under storage: redirect: {disable: true}   then: %s", p.restart("registry"))
			return
		}
	}
	if err != nil {
		p.pullFails("the layer", answer{}, plainError(err))
		return
	}
	defer func() { _ = resp.Body.Close() }()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	switch {
	case resp.StatusCode != http.StatusOK:
		p.pullFails("the layer", answer{status: resp.StatusCode}, nil)
	case err != nil:
		p.pullFails("the layer", answer{}, plainError(err))
	case "sha256:"+hex.EncodeToString(sum.Sum(nil)) != layer.digest:
		p.find("pull-fails", "the layer came back as %s that are not what was pushed", sizeText(int(n)))
	}
}

func (p *prober) pullFails(what string, got answer, err error) {
	if err != nil {
		p.find("pull-fails", "pulling %s: %v", what, err).mend("%s   shows why", p.logsCommand("registry"))
		return
	}
	p.find("pull-fails", "pulling %s ends with %d", what, got.status).mend("%s   shows why", p.logsCommand("registry")).Witness = got.line()
}

// mounts asks for a layer that the registry has, as a push of a shared base image does.
func (p *prober) mounts(ctx context.Context, raw string, layer blob) {
	p.step("a mount")
	q := url.Values{"mount": {layer.digest}, "from": {ProbeRepository}}
	got, err := p.do(ctx, http.MethodPost, "/v2/"+ProbeRepository+"/blobs/uploads/?"+q.Encode(), raw, nil)
	switch {
	case err != nil:
		p.find("mount-fails", "a mount: %v", err)
	case got.status == http.StatusAccepted: // an upload was begun instead
		if location, err := p.locate("/", got.header.Get("Location")); err == nil {
			p.undo = append(p.undo, func(ctx context.Context) { _, _ = p.do(ctx, http.MethodDelete, location, raw, nil) })
		}
		p.find("mount-fails", "the registry wants a layer again that it has")
	case got.status != http.StatusCreated:
		p.find("mount-fails", "a mount ends with %d", got.status).Witness = got.line()
	}
}

// listed asks for the catalog.
func (p *prober) listed(ctx context.Context) {
	p.step("the catalog")
	raw, err := p.sign(token.Access{Type: "registry", Name: "catalog", Actions: []string{"*"}})
	if err != nil {
		return
	}
	got, err := p.do(ctx, http.MethodGet, "/v2/_catalog?n=1", raw, nil)
	if err != nil || got.status != http.StatusOK {
		f := p.find("catalog-fails", "the catalog can't be read")
		if err != nil {
			f.Witness = err.Error()
		} else {
			f.Witness = got.line()
		}
	}
}

// guarded sees that what the rules deny is refused, and that who does not log in gets what they say.
func (p *prober) guarded(ctx context.Context, able string) {
	p.step("what is refused")
	if raw, err := p.sign(repositoryAccess("pull")); err == nil {
		for _, try := range []struct{ what, raw string }{{"a token that may pull only", raw}, {"no token", ""}} {
			got, err := p.do(ctx, http.MethodPost, "/v2/"+ProbeRepository+"/blobs/uploads/", try.raw, nil)
			if err != nil || got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
				continue
			}
			if got.status == http.StatusAccepted {
				if location, err := p.locate("/", got.header.Get("Location")); err == nil {
					p.undo = append(p.undo, func(ctx context.Context) { _, _ = p.do(ctx, http.MethodDelete, location, able, nil) })
				}
			}
			p.find("rules-not-enforced", "with %s an upload is answered with %d", try.what, got.status)
		}
	}
	policy := p.policy()
	if policy == nil || p.Auth.HasExternalLogin() {
		return
	}
	want := []string{}
	if _, known := p.Auth.User(""); known {
		d := policy.Decide(&acl.Request{Type: "repository", Name: ProbeRepository, Service: p.service, Actions: []string{"pull", "push"}}, nil)
		want = append(want, d.Granted...)
	}
	got, err := p.do(ctx, http.MethodGet, p.tokenURL("repository:"+ProbeRepository+":pull,push"), "", nil)
	if err != nil {
		return
	}
	granted := []string{}
	if got.status == http.StatusOK {
		if raw, err := tokenOf(got.body); err == nil {
			if _, c, err := token.Inspect(raw); err == nil {
				for _, a := range c.Access {
					granted = append(granted, a.Actions...)
				}
			}
		}
	}
	slices.Sort(granted)
	if !slices.Equal(granted, want) {
		p.find("anonymous-differs", "who does not log in gets %q on %s, and the rules on disk say %q", granted, ProbeRepository, want).mend("%s   makes the rules on disk those in force", p.restart("auth"))
	}
}

// deletes removes what was pushed, where the registry deletes at all.
func (p *prober) deletes(ctx context.Context, raw string, manifest blob) {
	p.step("its removal")
	got, err := p.do(ctx, http.MethodDelete, manifestPath(manifest.digest), raw, nil)
	if err != nil {
		p.find("delete-differs", "deleting the manifest: %v", err)
		return
	}
	on := p.settings.on("storage.delete.enabled")
	switch {
	case got.status == http.StatusAccepted && !on && p.hasRegistry():
		p.find("delete-differs", "the registry deletes, although its configuration says that it does not").mend("%s", p.restart("registry"))
	case got.status == http.StatusMethodNotAllowed && on:
		p.find("delete-differs", "the registry does not delete (405), although its configuration says so").mend("%s", p.restart("registry"))
	case got.status != http.StatusAccepted && got.status != http.StatusMethodNotAllowed:
		p.find("delete-differs", "deleting the manifest ends with %d", got.status).Witness = got.line()
	}
}
