package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// RefreshTokens gives out and knows refresh tokens: what a client shows in the place of a
// password, for one account and one service.
type RefreshTokens interface {
	// Issue makes a token for who has just logged in with a password. The empty token and no
	// error say that this account gets none.
	Issue(ctx context.Context, g RefreshGrant) (token secret.Text, id string, err error)
	// Redeem returns whose token it is, with the rights of this moment. An error that is
	// [authn.Refused] is about the token; id is set where the token is known.
	Redeem(token secret.Text, service string) (who authn.Identity, id string, err error)
	// Used notes that the token was good for something.
	Used(ctx context.Context, id string) error
	// Revoke forgets a token.
	Revoke(ctx context.Context, id string) error
	// Sweep forgets tokens that can't be of use any more, and says how many.
	Sweep(ctx context.Context) (int, error)
}

// RefreshGrant says whom a refresh token is for.
type RefreshGrant struct {
	Account, Service, ClientID string
	Address                    netip.Addr
}

// refreshWait bounds what is written about refresh tokens while a client waits.
const refreshWait = 2 * time.Second

// redeem finds out who shows a refresh token. A good one needs no guard: it can't be
// guessed. A bad one counts as a wrong password does.
func (s *Server) redeem(ctx context.Context, st *State, req *tokenRequest, addr netip.Addr, d *Decision) (authn.Identity, error) {
	if st.RefreshTokens == nil {
		return authn.Identity{}, errNoRefresh
	}
	id, name, err := st.RefreshTokens.Redeem(req.refresh, req.service)
	if d.refreshID = name; err == nil {
		d.Reason = "refresh token " + name
	}
	if err == nil && req.presented != "" && req.presented != id.Account {
		err = errOtherRefresh
	}
	if authn.Refused(err) {
		d.Reason = ""
		return authn.Identity{}, s.guard.Do(ctx, authn.Attempt{Account: req.presented, Password: req.refresh, Addr: addr}, func() error { return err })
	}
	return id, err
}

// refreshError is a refresh token that is no good.
type refreshError string

func (e refreshError) Error() string { return string(e) }

// Is makes it count as a wrong password.
func (e refreshError) Is(target error) bool { return target == authn.ErrWrongPassword }

// Reasons why a refresh token is refused whatever it is.
const (
	errNoRefresh    = refreshError("unknown refresh token: the configuration serves none")
	errOtherRefresh = refreshError("the refresh token is another account's")
)

// RefuseRefresh returns the error of a [RefreshTokens] for a token that is no good.
func RefuseRefresh(reason string) error { return refreshError(reason) }

// offer returns the refresh token of an answer: the one that was shown, or a new one for who
// asked for one with a password. "" is none; a store that fails costs nobody the login.
func (s *Server) offer(ctx context.Context, st *State, req *tokenRequest, d *Decision) secret.Text {
	if st.RefreshTokens == nil || req.refresh.IsZero() && !req.offline {
		return secret.Text{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshWait)
	defer cancel()
	switch {
	case !req.refresh.IsZero():
		if err := st.RefreshTokens.Used(ctx, d.refreshID); err != nil {
			s.log.Warn("the use of a refresh token can't be noted", "request_id", d.RequestID, "error", printable(err.Error(), maxReasonField))
		}
		return req.refresh
	case !req.offline || req.anonymous || d.Account == "" || d.Method == http.MethodHead:
		return secret.Text{}
	}
	token, id, err := st.RefreshTokens.Issue(ctx, RefreshGrant{Account: d.Account, Service: req.service, ClientID: req.clientID, Address: d.Address})
	switch {
	case err != nil:
		d.Reason = "no refresh token could be given out"
		s.log.Error(d.Reason, "request_id", d.RequestID, "account", printable(d.Account, maxNameField), "error", printable(err.Error(), maxReasonField))
	case id != "":
		d.Reason, d.refreshID, d.refreshNew = "gives out refresh token "+id, id, true
	}
	return token
}

// takeBack revokes a refresh token whose answer is not sent.
func (s *Server) takeBack(st *State, d *Decision) {
	if !d.refreshNew {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refreshWait)
	defer cancel()
	if err := st.RefreshTokens.Revoke(ctx, d.refreshID); err != nil {
		s.log.Error("a refresh token that nobody got could not be revoked", "token", d.refreshID, "error", printable(err.Error(), maxReasonField))
	}
}

// sweep forgets refresh tokens of who is not let in any more, so that they stay dead when
// the account comes back.
func (s *Server) sweep(st *State) {
	if st.RefreshTokens == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refreshWait)
	defer cancel()
	n, err := st.RefreshTokens.Sweep(ctx)
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		s.log.Error("dead refresh tokens can't be removed", "error", printable(err.Error(), maxReasonField))
	case n > 0:
		s.log.Info("refresh tokens are revoked: their accounts are gone, disabled or expired, or have another password", "tokens", n)
	}
}
