package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

func newTokenCommand(a *app) *cobra.Command {
	return group("token", "Read, make and use the tokens that the registry asks for",
		`Read, make and use the tokens that the registry asks for: what one says and why the registry
takes or refuses it, one as the token server would sign it, and a request with the whole
way from the challenge to the answer. list and revoke are about refresh tokens, which clients
hold in the place of a password.`,
		newTokenInspectCommand(a), newTokenIssueCommand(a), newTokenCurlCommand(a),
		newTokenListCommand(a), newTokenRevokeCommand(a),
	)
}

// maxTokenInput bounds what is read as a token, in bytes.
const maxTokenInput = 1 << 20

type verdictJSON struct {
	Accepted bool         `json:"accepted"`
	Reasons  []reasonJSON `json:"reasons"`
}

type reasonJSON struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func newTokenInspectCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [FILE|-]",
		Short: "Show what a token says, and whether this deployment's registry takes it",
		Long: `Read a token from FILE or standard input, show its header, claims and times, and verify it
as this deployment's registry does: against its certificates and keys, issuer, service and
the clock of this machine. A token is a secret while it lives, so it is not an argument.

Exit status 0 when the registry takes it (or where there is no deployment to ask), 1 when it
refuses it, 3 when the text is no token. Changes nothing on disk.`,
		Example: `  regctl-setup -C ./registry token inspect token.txt
  regctl-setup token issue ci --scope repository:app:pull | regctl-setup token inspect`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			raw, err := a.readToken(args)
			if err != nil {
				return err
			}
			h, c, err := token.Inspect(raw)
			if err != nil {
				return fail(err, "a token is three texts joined by dots; it begins with eyJ")
			}
			var verdict *verdictJSON
			why := ""
			facts, err := a.doctorFacts(cmd.Context())
			if err == nil {
				var trust doctor.Trust
				if trust, err = facts.Trust(); err == nil {
					_, _, reasons, judged := trust.Judge(raw, a.now())
					if judged != nil {
						return fail(judged)
					}
					verdict = &verdictJSON{Accepted: len(reasons) == 0, Reasons: []reasonJSON{}}
					for _, r := range reasons {
						verdict.Reasons = append(verdict.Reasons, reasonJSON{r.Field, r.Text})
					}
				}
			}
			if err != nil {
				why = err.Error()
			}
			if !a.json() {
				a.printToken(h, c, verdict, why)
			} else if err := a.printJSON(struct {
				Header  json.RawMessage `json:"header"`
				Claims  json.RawMessage `json:"claims"`
				Verdict *verdictJSON    `json:"verdict"`
			}{h.JSON, c.JSON, verdict}); err != nil {
				return err
			}
			if verdict != nil && !verdict.Accepted {
				return no()
			}
			return nil
		}),
	}
}

// readToken reads a token from the file, or from standard input.
func (a *app) readToken(args []string) (string, error) {
	in := a.io.In
	if len(args) == 1 && args[0] != "-" {
		if strings.HasPrefix(args[0], "eyJ") {
			return "", usage(errors.New("the token is an argument, which others on this machine can read"), "put it into a file, or pipe it: … | regctl-setup token inspect")
		}
		f, err := os.Open(args[0])
		if err != nil {
			return "", fail(err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenInput+1))
	switch {
	case err != nil:
		return "", fail(fmt.Errorf("read the token: %w", err))
	case len(data) > maxTokenInput:
		return "", fail(fmt.Errorf("the token has more than %d bytes", maxTokenInput))
	case strings.TrimSpace(string(data)) == "":
		return "", fail(errors.New("no token: the input is empty"))
	}
	return string(data), nil
}

func (a *app) printToken(h token.Header, c token.Claims, verdict *verdictJSON, why string) {
	now := a.now()
	a.out("header:   %s, kid %s", dash(h.Algorithm), dash(h.KeyID))
	for _, cert := range h.X5C {
		a.out("          x5c %s, %s", cert.Subject, when(now, cert.NotAfter, "ends", "ended"))
	}
	if h.HasJWK {
		a.out("          jwk: the token brings its own key; never trust it for that")
	}
	a.out("issuer:   %s", dash(c.Issuer))
	a.out("subject:  %s", accountName(c.Subject))
	a.out("audience: %s", dash(strings.Join(c.Audience, ", ")))
	a.out("issued:   %s", when(now, c.IssuedAt, "", ""))
	a.out("begins:   %s", when(now, c.NotBefore, "", ""))
	a.out("expires:  %s", when(now, c.Expires, "", ""))
	if len(c.Access) == 0 {
		a.out("access:   none: good for the login itself (GET /v2/)")
	}
	for i, x := range c.Access {
		label := "access:"
		if i > 0 {
			label = ""
		}
		a.out("%-9s %s:%s:%s", label, x.Type, x.Name, dash(strings.Join(x.Actions, ",")))
	}
	switch {
	case verdict == nil:
		a.out("verdict:  none: %s", why)
	case verdict.Accepted:
		a.out("verdict:  this deployment's registry takes it")
	default:
		for i, r := range verdict.Reasons {
			label := "verdict:"
			if i > 0 {
				label = ""
			}
			a.out("%-9s refused, %s: %s", label, r.Field, r.Message)
		}
	}
}

// when writes a time, and how far it is from now, in words.
func when(now, at time.Time, ahead, past string) string {
	if at.IsZero() {
		return "-"
	}
	d := at.Sub(now).Round(time.Second)
	words := "now"
	switch {
	case d > 0:
		words = strings.TrimSpace(ahead + " in " + span(d))
	case d < 0:
		words = strings.TrimSpace(past + " " + span(-d) + " ago")
	}
	return fmt.Sprintf("%s (%s)", at.UTC().Format("2006-01-02 15:04:05 MST"), words)
}

// span writes a duration in its two largest units at most.
func span(d time.Duration) string {
	days := int(d / (24 * time.Hour))
	switch {
	case days >= 2:
		return fmt.Sprintf("%d days", days)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d/time.Hour), int(d%time.Hour/time.Minute))
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", int(d/time.Minute), int(d%time.Minute/time.Second))
	}
	return fmt.Sprintf("%d s", int(d/time.Second))
}
