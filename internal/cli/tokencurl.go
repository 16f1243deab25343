package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

func newTokenCurlCommand(a *app) *cobra.Command {
	var o struct {
		account, method string
		stdin, issue    bool
		include         bool
		verbose         bool
		where           liveFlags
	}
	c := &cobra.Command{
		Use:   "curl URL",
		Short: "Send one request to a registry, with the token that it asks for",
		Long: `Send one request to a registry: without a token first, then with the one that its challenge
asks for, as docker does. "curl -u" does not get that far, since a registry takes no passwords.

The password comes from the terminal or --password-stdin and goes to the realm only where
clients would send it; --issue signs the token here instead, as the token server would. URL is
absolute, or a path of this deployment's registry, such as /v2/_catalog.

The body goes to stdout. Exit status 0 for a status below 400, 1 for 4xx or a login that is
refused, 3 for 5xx and when there is no answer. --issue records the token in the audit log;
nothing else changes on disk.`,
		Example: `  regctl-setup token curl /v2/_catalog --as admin
  regctl-setup token curl https://registry.example.com/v2/dev/app/tags/list --as ci --issue
  regctl-setup token curl /v2/dev/app/manifests/1.0 -X HEAD -i --as ci --password-stdin < secret`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			switch {
			case o.issue && o.account == "":
				return usage(errors.New("--issue signs for an account: --as USER is missing"))
			case o.issue && o.stdin:
				return usage(errors.New("--issue and --password-stdin exclude each other"))
			case o.stdin && o.account == "":
				return usage(errors.New("--password-stdin is for --as USER"))
			case !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodDelete}, o.method):
				return usage(fmt.Errorf("-X %q: expected GET, HEAD or DELETE", o.method))
			}
			target := args[0]
			var facts *doctor.Facts // of the registry that is asked, where that is the deployment's
			if strings.HasPrefix(target, "/") {
				base := o.where.url
				if base == "" {
					var err error
					if facts, err = a.doctorFacts(cmd.Context()); err != nil {
						return err
					}
					base = facts.BaseURL()
				}
				if base == "" {
					return usage(errors.New("the deployment does not record the registry's address"), "give the whole URL, or --url https://HOST")
				}
				target = strings.TrimSuffix(base, "/") + target
			}
			roots, err := a.rootsFor(cmd.Context(), &o.where, facts)
			if err != nil {
				return err
			}
			tr := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
			defer tr.CloseIdleConnections()
			f := doctor.Fetch{Client: &http.Client{Transport: tr}, Account: o.account}
			if o.verbose {
				f.Step = func(s string) { a.note("* %s", s) }
			}
			switch {
			case o.issue:
				s, err := a.newSigner(cmd, o.account, "")
				if err != nil {
					return err
				}
				f.Sign = func(service string, scopes []string) (string, error) {
					t, err := s.issue(service, scopes)
					return t.Token, err
				}
			case o.account != "":
				if f.Password, err = a.readPassword(o.account, o.stdin); err != nil {
					return err
				}
			}
			resp, err := f.Do(cmd.Context(), o.method, target)
			if err != nil {
				var se *statusError
				switch {
				case cmd.Context().Err() != nil:
					return cmd.Context().Err()
				case errors.As(err, &se):
					return err
				case errors.Is(err, doctor.ErrNoToken) && strings.Contains(err.Error(), "401") && o.account == "":
					return refuse(err, "without a login nothing is given: name an account with --as USER")
				case errors.Is(err, doctor.ErrNoToken) && strings.Contains(err.Error(), "401"):
					return refuse(err, "regctl-setup user verify "+o.account+"   compares the password with the config")
				}
				return fail(err, "regctl-setup doctor --live-only   finds what is wrong on the way")
			}
			defer func() { _ = resp.Body.Close() }()
			if o.include {
				a.out("%s %s", resp.Proto, resp.Status)
				for _, name := range sortedHeader(resp.Header) {
					a.out("%s: %s", name, strings.Join(resp.Header[name], ", "))
				}
				a.out("")
			}
			if _, err := io.Copy(a.io.Out, resp.Body); err != nil {
				return fail(fmt.Errorf("read the answer: %w", err))
			}
			switch {
			case resp.StatusCode >= http.StatusInternalServerError:
				return fail(fmt.Errorf("the registry answers %s", resp.Status))
			case resp.StatusCode >= http.StatusBadRequest:
				return refuse(fmt.Errorf("the registry answers %s", resp.Status))
			}
			return nil
		}),
	}
	f := c.Flags()
	f.StringVar(&o.account, "as", "", "the `USER` (default: without a login)")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input, one line")
	f.BoolVar(&o.issue, "issue", false, "sign the token here with the deployment's key, without a password")
	f.StringVarP(&o.method, "request", "X", http.MethodGet, "GET, HEAD or DELETE")
	f.BoolVarP(&o.include, "include", "i", false, "show the answer's status and headers too")
	f.BoolVar(&o.verbose, "show-challenge", false, "show the challenge on stderr")
	o.where.registerWhere(f)
	return c
}

func sortedHeader(h http.Header) []string {
	var names []string
	for n := range h {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
