// Package authn answers one question: who is this?
//
// An [Authenticator] checks an account's password and tells the labels that the access
// rules see. [Static] does it for the users of the config file. Several may be asked in
// order: [ErrNoSuchUser] passes on to the next, any other error ends it.
//
// Around them stands a [Guard]: password hashes are slow by design, so that a flood of
// guesses is also a flood of work. The guard refuses clients that guessed too often
// before any hash is computed, lets few hashes run at once, and hands the turns out
// fairly among the clients' addresses.
//
//	users, err := authn.NewStatic([]authn.User{{Name: "alice", Hash: hash}}, authn.StaticOptions{Remember: 5 * time.Minute})
//	guard := authn.NewGuard(authn.GuardOptions{})
//	id, ok := users.Recall("alice", password) // no hash is computed
//	if !ok {
//		err = guard.Do(ctx, authn.Attempt{Account: "alice", Password: password, Addr: client}, func() error {
//			id, err = users.Authenticate(ctx, "alice", password)
//			return err
//		})
//	}
package authn

import (
	"context"
	"errors"
	"fmt"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Identity is an account whose credentials were verified.
type Identity struct {
	// Account is the user's name; "" is the anonymous account.
	Account string
	// Labels are the account's labels. They are shared: nobody may change them.
	Labels map[string][]string
}

// Reasons why an account is not let in. A caller tells them apart for its log and for
// going on to the next authenticator, never towards the client.
var (
	// ErrNoSuchUser: this authenticator does not know the account; the next one may.
	ErrNoSuchUser = errors.New("no such user")
	// ErrWrongPassword ends the search.
	ErrWrongPassword = errors.New("wrong password")
	// ErrDisabled: the account exists and is switched off. It wraps [ErrWrongPassword].
	ErrDisabled = fmt.Errorf("account disabled (%w)", ErrWrongPassword)
	// ErrExpired: the account's time is over. It wraps [ErrWrongPassword].
	ErrExpired = fmt.Errorf("account expired (%w)", ErrWrongPassword)
)

// Refused reports whether err is about credentials: an unknown account, a wrong
// password, an account that is disabled or has expired. Anything else is a backend
// that could not answer.
func Refused(err error) bool {
	return errors.Is(err, ErrNoSuchUser) || errors.Is(err, ErrWrongPassword)
}

// Authenticator verifies a password.
type Authenticator interface {
	// Authenticate returns the account's identity, or an error: one of this package's
	// for credentials that are no good, ctx's when it ended, another when the answer
	// can't be had.
	Authenticate(ctx context.Context, account string, password secret.Text) (Identity, error)
}

// Recaller is an authenticator that knows some answers without work: of accounts that
// need no password, and of credentials that it verified a short while ago.
type Recaller interface {
	// Recall returns the identity where the credentials are known to be good. False
	// says nothing about them.
	Recall(account string, password secret.Text) (Identity, bool)
}
