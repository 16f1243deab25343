package authload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// leafMargin is how long a certificate is good beyond the last token that it should sign: a
// server that could not change its key for a while goes on.
const leafMargin = 30 * 24 * time.Hour

// leaf is a signing pair that was made here and is kept in memory only.
type leaf struct {
	pair  *keys.Pair
	begun time.Time
}

// young reports whether the leaf is not due yet. One from the future was made before the
// clock was set.
func (l *leaf) young(f *config.File, now time.Time) bool {
	return !now.Before(l.begun) && now.Before(l.begun.Add(f.Extras.RotateSigningKey))
}

// lasts reports whether the certificate outlives the tokens that it is for, or the authority.
func (l *leaf) lasts(f *config.File) bool {
	end, root := l.pair.Leaf().NotAfter, l.pair.Chain[len(l.pair.Chain)-1].NotAfter
	return !end.Before(root) || !end.Before(l.begun.Add(f.Extras.RotateSigningKey+longestToken(f)))
}

// authorityFiles are the key and the certificate of the authority that issues signing
// certificates, beside the signing key; "" where the config does not change its key itself.
func authorityFiles(o Options, f *config.File) (key, cert string) {
	if f.Extras.RotateSigningKey <= 0 {
		return "", ""
	}
	_, keyPath := f.SigningPair()
	dir := filepath.Dir(o.resolve(keyPath))
	return filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.pem")
}

// authoritySources are the authority's files, as a list.
func authoritySources(o Options, f *config.File) []string {
	key, cert := authorityFiles(o, f)
	if key == "" {
		return nil
	}
	return []string{key, cert}
}

// signer is the pair that signs now: the one on disk while it is younger than
// rotate_signing_key says, else one that the authority issues. last is what signed before; it
// goes on where it may. The leaf is nil where disk signs.
func signer(o Options, f *config.File, disk *keys.Pair, last *leaf) (*keys.Pair, *leaf, error) {
	every := f.Extras.RotateSigningKey
	if every <= 0 {
		return disk, nil, nil
	}
	ca, typ, err := authority(o, f, disk)
	if err != nil {
		return nil, nil, rotateProblem(f, err)
	}
	now := o.now()
	begun := keys.Issued(disk.Leaf())
	root := ca.Pair.Leaf()
	if last != nil && last.begun.After(begun) && last.young(f, now) && last.lasts(f) &&
		last.pair.Chain[len(last.pair.Chain)-1].Equal(root) && keyType(last.pair.Public()) == typ {
		return last.pair, last, nil
	}
	if now.Before(begun.Add(every)) {
		return disk, nil, nil
	}
	pair, err := ca.IssueLeaf(typ, every+longestToken(f)+leafMargin)
	if err != nil {
		return nil, nil, rotateProblem(f, fmt.Errorf("a signing key can't be issued: %w", err))
	}
	return pair, &leaf{pair: pair, begun: now}, nil
}

// longestToken is the longest lifetime of the config's tokens.
func longestToken(f *config.File) time.Duration {
	return max(f.Token.Expiration, f.Extras.PullExpiration, f.Extras.PushExpiration)
}

// authority reads the authority and checks that it is the one which issued the signing pair:
// that is what the registry trusts.
func authority(o Options, f *config.File, disk *keys.Pair) (*keys.CA, keys.Type, error) {
	keyPath, certPath := authorityFiles(o, f)
	pair, err := keys.LoadPair(keyPath, certPath, keys.LoadOptions{AllowReadableKey: f.Extras.AllowReadableKey})
	if err != nil {
		return nil, "", fmt.Errorf("the authority that issues signing keys can't be read: %w", err)
	}
	ca, err := keys.NewCA(pair, keys.Options{Rand: o.Rand, Now: o.Now, CommonName: f.Token.Issuer})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", certPath, err)
	}
	if err := disk.Leaf().CheckSignatureFrom(pair.Leaf()); err != nil {
		return nil, "", fmt.Errorf("the signing certificate was not issued by the authority in %s, which the registry so need not trust", certPath)
	}
	typ := keyType(disk.Public())
	if typ == "" {
		return nil, "", errors.New("a key like the one on disk can't be made here")
	}
	return ca, typ, nil
}

// keyType is the type of a key; "" for one that is not made here.
func keyType(pub crypto.PublicKey) keys.Type {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch k.N.BitLen() {
		case 2048:
			return keys.RSA2048
		case 3072:
			return keys.RSA3072
		case 4096:
			return keys.RSA4096
		}
	case *ecdsa.PublicKey:
		if k.Params().BitSize == 256 {
			return keys.ECDSAP256
		}
	}
	return ""
}

// rotateProblem is a problem at the place of the setting.
func rotateProblem(f *config.File, err error) error {
	pos := f.Position("x-regctl-setup", "rotate_signing_key")
	return config.Problems{{
		File: pos.File, Line: pos.Line, Column: pos.Column, Code: config.CodeSetting,
		Msg:  fmt.Sprintf("x-regctl-setup.rotate_signing_key: %v", err),
		Hint: "\"regctl-setup keys rotate\" makes an authority (ca.key and ca.pem beside the signing key) and a signing key of it; both must be readable for the server. Or remove the setting",
	}}
}

// signing makes the issuer of tokens and what tells about its key.
func signing(o Options, f *config.File, pair *keys.Pair, st *authserver.State) (*token.Issuer, error) {
	issuer, err := token.New(token.Options{
		Issuer: f.Token.Issuer, Pair: pair, LegacyKeyID: !f.Token.DisableLegacyKeyID,
		X5C: token.X5CMode(f.Extras.X5C), Now: o.Now, Rand: o.Rand, Warn: o.Warn,
	})
	if err != nil {
		return nil, fmt.Errorf("signing pair: %w", err)
	}
	if st.JWKS, err = keys.JWKS(pair.Signer.Public()); err != nil {
		return nil, fmt.Errorf("signing pair: %w", err)
	}
	st.Issuer = issuer
	const name = "signing"
	certs := []authserver.Certificate{{Name: name, Expires: pair.Leaf().NotAfter}}
	for _, c := range st.Certificates {
		if c.Name != name {
			certs = append(certs, c)
		}
	}
	st.Certificates = certs
	return issuer, nil
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// rotateCheck is how often it is looked whether the signing key is due.
const rotateCheck = time.Minute

// RotateSigningKey changes the signing key whenever rotate_signing_key says, until ctx ends.
func (l *Loader) RotateSigningKey(ctx context.Context, srv *authserver.Server, log *slog.Logger) {
	tick := time.NewTicker(rotateCheck)
	defer tick.Stop()
	for {
		if _, err := l.RotateIfDue(srv, log); err != nil {
			log.Error("the signing key can't be changed; the old one goes on", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// RotateIfDue changes the signing key of the server where the present one is older than
// rotate_signing_key says, and reports whether it did. The new key is made before anything is
// replaced: requests are answered meanwhile. Nothing else of the configuration is loaded.
func (l *Loader) RotateIfDue(srv *authserver.Server, log *slog.Logger) (bool, error) {
	l.rotating.Lock()
	defer l.rotating.Unlock()
	o := l.o.withDefaults()
	old := srv.State()
	src, ok := old.Source.(*source)
	if !ok || src.disk == nil || src.file.Extras.RotateSigningKey <= 0 {
		l.told = nil
		return false, nil
	}
	defer func() { l.tell(srv, log) }() // a load may have changed the key, too
	if src.leaf != nil && src.leaf.young(src.file, o.now()) || src.leaf == nil && o.now().Before(keys.Issued(src.disk.Leaf()).Add(src.file.Extras.RotateSigningKey)) {
		return false, nil
	}
	pair, next, err := signer(o, src.file, src.disk, src.leaf)
	if err != nil {
		return false, err
	}
	if next == src.leaf {
		return false, nil
	}
	st := *old
	now := *src
	now.leaf = next
	st.Source, st.Follows, st.Warnings = &now, now.follows, nil
	if _, err := signing(o, src.file, pair, &st); err != nil {
		return false, err
	}
	if !srv.Replace(old, &st) {
		return false, nil // a reload came in between, and has looked at the key's age itself
	}
	l.mu.Lock()
	l.leaf = next
	l.mu.Unlock()
	return true, nil
}

// tell logs which key signs, where that is another one than at the last time.
func (l *Loader) tell(srv *authserver.Server, log *slog.Logger) {
	src, ok := srv.State().Source.(*source)
	if !ok || src.leaf == l.told {
		return
	}
	l.told = src.leaf
	if src.leaf == nil {
		log.Info("tokens are signed with the key on disk again")
		return
	}
	id, err := keys.LibtrustID(src.leaf.pair.Public())
	if err != nil {
		id = err.Error()
	}
	log.Info("tokens are signed with a new key", "kid", id, "next", src.leaf.begun.Add(src.file.Extras.RotateSigningKey).UTC().Format(time.RFC3339))
}
