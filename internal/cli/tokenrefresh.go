package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/refresh"
)

// refreshJSON is a refresh token in a list. The times are null where there are none.
type refreshJSON struct {
	ID       string     `json:"id"`
	Account  string     `json:"account"`
	Service  string     `json:"service"`
	Client   string     `json:"client"`
	Address  string     `json:"address"`
	Created  time.Time  `json:"created"`
	LastUsed *time.Time `json:"last_used"`
	Expires  *time.Time `json:"expires"`
	// Dead says why the token is no good any more; "" where it is.
	Dead string `json:"dead"`
}

func newTokenListCommand(a *app) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the refresh tokens that clients hold",
		Long: `List the refresh tokens that the bundled token server has given out: to whom, when, for which
client and address, when it was last shown (to a quarter of an hour), until when it is good, and
why it is not any more. The tokens themselves are kept nowhere.

They are off unless the auth config says x-regctl-setup: {refresh_tokens: true}.

Exit status 1 when there are none. Changes nothing on disk.`,
		Example: `  regctl-setup -C ./registry token list
  regctl-setup token list --account alice --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			s, err := a.refreshStore(cmd.Context())
			if err != nil {
				return err
			}
			list, err := s.list(account)
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(struct {
					Tokens []refreshJSON `json:"tokens"`
				}{list}); err != nil {
					return err
				}
			} else {
				a.printRefreshTokens(list)
			}
			if len(list) == 0 {
				return no()
			}
			return nil
		}),
	}
	c.Flags().StringVar(&account, "account", "", "only those of this account")
	return c
}

func newTokenRevokeCommand(a *app) *cobra.Command {
	var account string
	var all bool
	c := &cobra.Command{
		Use:   "revoke ID...",
		Short: "Revoke refresh tokens",
		Long: `Revoke refresh tokens: those with these ids (token list shows them), those of --account, or
--all. A running token server refuses them at once, and the client has to log in again. Access
tokens that it holds already live on until their end (token.expiration).

Writes the file with the refresh tokens, and the audit log. Exit status 1 when there is no such
token; then none is revoked.`,
		Example: `  regctl-setup -C ./registry token revoke 5d41402abc4b
  regctl-setup token revoke --account alice`,
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, given := range []bool{len(args) > 0, flagSet(cmd.Flags(), "account"), all} {
				if given {
					chosen++
				}
			}
			if chosen != 1 {
				return usage(errors.New("name the tokens by their ids, or by --account NAME, or --all"), "regctl-setup token list shows them")
			}
			s, err := a.refreshStore(cmd.Context())
			if err != nil {
				return err
			}
			removed, err := s.revoke(cmd.Context(), func(t *refresh.Token) bool {
				return all || account != "" && t.Account == account || slices.Contains(args, t.ID)
			}, args)
			if err != nil {
				return err
			}
			ids := make([]string, 0, len(removed))
			for i := range removed {
				ids = append(ids, removed[i].ID)
				a.note("revoked %s of %s", removed[i].ID, removed[i].Account)
			}
			if a.json() {
				return a.printJSON(struct {
					Revoked []string `json:"revoked"`
				}{ids})
			}
			return nil
		}),
	}
	c.Flags().StringVar(&account, "account", "", "all tokens of this account")
	c.Flags().BoolVar(&all, "all", false, "all tokens of all accounts")
	return c
}

// refreshStore is the store of the deployment, with what judges its tokens.
type refreshStore struct {
	a     *app
	d     *deployment.Deployment
	file  *config.File
	path  string
	store *refresh.Store
	users *authn.Static
}

func (a *app) refreshStore(ctx context.Context) (*refreshStore, error) {
	file, d, err := a.loadConfig(ctx)
	if err != nil {
		return nil, err
	}
	path := authload.RefreshFile(file, d.ResolveNew)
	if path == "" {
		return nil, refuse(fmt.Errorf("%s: refresh tokens are off", displayPath(d.Auth)),
			"x-regctl-setup: {refresh_tokens: true} in it lets the bundled token server give them out")
	}
	users, err := authload.Users(file, a.now)
	if err != nil {
		return nil, fail(err)
	}
	return &refreshStore{
		a: a, d: d, file: file, path: path, users: users,
		store: refresh.New(refresh.Options{
			Path: path, Lifetime: file.Extras.RefreshTokens.Lifetime, Command: "regctl-setup " + a.command, Now: a.now, Rand: a.rand,
		}),
	}, nil
}

// list returns the tokens of the account, "" being all, the oldest first.
func (s *refreshStore) list(account string) ([]refreshJSON, error) {
	tokens, err := s.store.List()
	if err != nil {
		return nil, fail(err)
	}
	out := []refreshJSON{}
	for i := range tokens {
		t := &tokens[i]
		if account != "" && t.Account != account {
			continue
		}
		dead, err := authload.DeadRefreshToken(s.store, s.users, t)
		if err != nil {
			return nil, fail(err)
		}
		j := refreshJSON{ID: t.ID, Account: t.Account, Service: t.Service, Client: t.Client, Created: t.Created, Dead: dead}
		if t.Address.IsValid() {
			j.Address = t.Address.String()
		}
		if !t.Used.IsZero() {
			j.LastUsed = &t.Used
		}
		if end := s.store.Expires(t); !end.IsZero() {
			j.Expires = &end
		}
		out = append(out, j)
	}
	return out, nil
}

// printRefreshTokens prints the list for people.
func (a *app) printRefreshTokens(list []refreshJSON) {
	if len(list) == 0 {
		a.note("no refresh tokens")
		return
	}
	now := a.now()
	ago := func(at *time.Time, otherwise string) string {
		switch {
		case at == nil:
			return otherwise
		case at.After(now):
			return "in " + span(at.Sub(now))
		}
		return span(now.Sub(*at)) + " ago"
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "ID\tACCOUNT\tSERVICE\tCLIENT\tADDRESS\tCREATED\tLAST USED\tENDS")
	for i := range list {
		t := &list[i]
		ends := ago(t.Expires, "never")
		if t.Dead != "" {
			ends = "dead: " + t.Dead
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, visible(t.Account), visible(t.Service), dash(visible(t.Client)), dash(t.Address),
			t.Created.UTC().Format("2006-01-02 15:04"), ago(t.LastUsed, "never"), ends)
	}
	_ = tw.Flush()
}

// revoke removes the tokens that gone says and records it. Each of ids must be one of them.
func (s *refreshStore) revoke(ctx context.Context, gone func(*refresh.Token) bool, ids []string) (removed []refresh.Token, err error) {
	tokens, err := s.store.List()
	if err != nil {
		return nil, fail(err)
	}
	c := change{file: s.d.Rel(s.path)}
	known := map[string]bool{}
	for i := range tokens {
		t := &tokens[i]
		if !gone(t) {
			continue
		}
		known[t.ID] = true
		c.what = append(c.what, fmt.Sprintf("refresh token %s of %q is revoked", t.ID, t.Account))
		if !slices.Contains(c.accounts, t.Account) {
			c.accounts = append(c.accounts, t.Account)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return known[id] })
	switch {
	case len(missing) > 0:
		return nil, refuse(fmt.Errorf("no refresh token %s", strings.Join(missing, ", ")), "regctl-setup token list shows the ids")
	case len(known) == 0:
		return nil, refuse(errors.New("no such refresh token"), "regctl-setup token list shows them")
	}
	finish, err := s.a.recordChange(ctx, s.d, s.file, c)
	if err != nil {
		return nil, err
	}
	defer func() { finish(err) }()
	if removed, err = s.store.Remove(ctx, gone); err != nil {
		return nil, safefileError(err)
	}
	return removed, nil
}
