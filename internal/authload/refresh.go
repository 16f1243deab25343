package authload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/refresh"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// RefreshFile is the file with the refresh tokens of a config; "" where it wants none.
// resolve is that of [Options].
func RefreshFile(f *config.File, resolve func(string) string) string {
	if f.Extras.RefreshTokens == nil {
		return ""
	}
	dir := f.Extras.RefreshTokens.Path
	if resolve != nil {
		dir = resolve(dir)
	}
	return filepath.Join(dir, refresh.FileName)
}

// prepareWait bounds how long a load waits for whoever changes the refresh tokens.
const prepareWait = 10 * time.Second

// refreshTokens opens the store of refresh tokens; nil where the config wants none. A store
// that can't be written is a problem of the config: tokens that are given out and forgotten
// would lock their clients out.
func refreshTokens(o Options, f *config.File, static *authn.Static) (authserver.RefreshTokens, error) {
	path := RefreshFile(f, o.resolve)
	if path == "" {
		return nil, nil //nolint:nilnil // no refresh tokens is no error
	}
	store := refresh.New(refresh.Options{Path: path, Lifetime: f.Extras.RefreshTokens.Lifetime, Command: "regctl-setup serve", Now: o.Now, Rand: o.Rand})
	ctx, cancel := context.WithTimeout(context.Background(), prepareWait)
	defer cancel()
	err := store.Prepare(ctx)
	if err != nil {
		dir := filepath.Dir(path)
		pos := f.Position("x-regctl-setup", "refresh_tokens")
		if fe := (*fs.PathError)(nil); errors.As(err, &fe) {
			err = fmt.Errorf("%s %s: %w", fe.Op, fe.Path, fe.Err)
		}
		return nil, config.Problems{{
			File: pos.File, Line: pos.Line, Column: pos.Column, Code: config.CodeNotServed,
			Msg: fmt.Sprintf("x-regctl-setup.refresh_tokens: they can't be kept in %s: %v", dir, err),
			Hint: fmt.Sprintf("the folder must be writable for the user that serve runs as; in a container it must be mounted: mkdir -m 700 -p %[1]s beside the compose file, give it to the user of the service, and add under its volumes: \"- ./%[1]s:%[2]s\"",
				filepath.ToSlash(f.Extras.RefreshTokens.Path), dir),
		}}
	}
	return &refresher{store: store, users: static}, nil
}

// refreshWarning says that the refresh tokens will be lost; "" where they won't.
func refreshWarning(o Options, f *config.File) string {
	dir := filepath.Dir(RefreshFile(f, o.resolve))
	if f.Extras.RefreshTokens == nil || !lostWithContainer(dir) {
		return ""
	}
	return fmt.Sprintf("x-regctl-setup.refresh_tokens: %s lies in this container and goes with it, and token list outside does not see it; mount it", dir)
}

// refresher ties refresh tokens to the users of one config.
type refresher struct {
	store *refresh.Store
	users *authn.Static
}

// Issue makes a token for a user of the config. Who a program let in gets none: nobody could
// tell when that password changes.
func (r *refresher) Issue(ctx context.Context, g authserver.RefreshGrant) (secret.Text, string, error) {
	_, hash, err := r.users.Standing(g.Account)
	if err != nil {
		return secret.Text{}, "", nil //nolint:nilerr // who has no standing here gets no token, which is no fault
	}
	text, t, err := r.store.Issue(ctx, refresh.Grant{Account: g.Account, Service: g.Service, Client: g.ClientID, Address: g.Address, Hash: hash})
	return text, t.ID, err
}

// Redeem looks the token up and judges it by the account as it is now.
func (r *refresher) Redeem(text secret.Text, service string) (authn.Identity, string, error) {
	t, err := r.store.Find(text)
	switch {
	case errors.Is(err, refresh.ErrUnknown), errors.Is(err, refresh.ErrExpired):
		return authn.Identity{}, t.ID, authserver.RefuseRefresh(named(err.Error(), t.ID))
	case err != nil:
		return authn.Identity{}, "", err
	case t.Service != service:
		return authn.Identity{}, t.ID, authserver.RefuseRefresh(named("the refresh token is for another service", t.ID))
	}
	id, reason, err := r.standing(&t)
	switch {
	case err != nil:
		return authn.Identity{}, t.ID, err
	case reason != "":
		return authn.Identity{}, t.ID, authserver.RefuseRefresh(named("dead refresh token: "+reason, t.ID))
	}
	return id, t.ID, nil
}

// named adds the token's id to a reason.
func named(reason, id string) string {
	if id == "" {
		return reason
	}
	return reason + " (" + id + ")"
}

// DeadRefreshToken says why a token is no good any more for the users; "" where it is.
func DeadRefreshToken(store *refresh.Store, users *authn.Static, t *refresh.Token) (string, error) {
	if store.Expired(t) {
		return "out of date", nil
	}
	_, reason, err := (&refresher{store: store, users: users}).standing(t)
	return reason, err
}

// Users returns the authenticator of the config's users, for questions about accounts; now is
// the clock.
func Users(f *config.File, now func() time.Time) (*authn.Static, error) {
	return authn.NewStatic(users(f), authn.StaticOptions{Now: now})
}

// standing is whose token it is now, or the reason why it is nobody's.
func (r *refresher) standing(t *refresh.Token) (id authn.Identity, reason string, err error) {
	id, hash, fault := r.users.Standing(t.Account)
	switch {
	case errors.Is(fault, authn.ErrDisabled):
		return authn.Identity{}, "the account is disabled", nil
	case errors.Is(fault, authn.ErrExpired):
		return authn.Identity{}, "the account has expired", nil
	case fault != nil:
		return authn.Identity{}, "the account is gone", nil //nolint:nilerr // the reason says it
	}
	same, err := r.store.Bound(t, hash)
	switch {
	case err != nil:
		return authn.Identity{}, "", err
	case !same:
		return authn.Identity{}, "the password was changed", nil
	}
	return id, "", nil
}

// Used is [refresh.Store.Used].
func (r *refresher) Used(ctx context.Context, id string) error { return r.store.Used(ctx, id) }

// Revoke removes one token.
func (r *refresher) Revoke(ctx context.Context, id string) error {
	_, err := r.store.Remove(ctx, func(t *refresh.Token) bool { return t.ID == id })
	return err
}

// Sweep removes the tokens that Redeem would refuse.
func (r *refresher) Sweep(ctx context.Context) (int, error) {
	removed, err := r.store.Remove(ctx, func(t *refresh.Token) bool {
		_, reason, err := r.standing(t)
		return err == nil && (reason != "" || r.store.Expired(t))
	})
	return len(removed), err
}
