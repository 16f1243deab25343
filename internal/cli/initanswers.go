package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// settleAnswers makes the answers of a new deployment whole. What said does not name is
// taken as by default with --yes, asked on a terminal, and otherwise missing: all of it is
// named at once. The passwords are those that were typed, by account.
func (a *app) settleAnswers(ctx context.Context, dir string, ans answers.Answers, refused answers.Problems, said map[string]bool) (answers.Answers, map[string]secret.Text, error) {
	start := wizard.Start{Answers: ans, Fixed: said}
	switch {
	case len(refused) > 0:
		return ans, nil, answersError(append(refused, remaining(ans, refused)...))
	case a.yes:
	case a.io.CanPrompt():
		return a.runWizard(ctx, dir, start, a.previewFiles)
	default:
		if err := missingAnswers(start); err != nil {
			return ans, nil, err
		}
	}
	if problems := ans.Validate(); len(problems) > 0 {
		return ans, nil, answersError(problems)
	}
	return ans, nil, nil
}

// missingAnswers names every question that is open where nobody can be asked, and what is
// wrong with the answers that were given.
func missingAnswers(start wizard.Start) error {
	var missing, hints []string
	for _, q := range wizard.New(start).Pending() {
		if q.Flag == "" || slices.ContainsFunc(missing, func(m string) bool { return strings.HasPrefix(m, "--"+q.Flag+" ") }) {
			continue
		}
		def := q.Default
		if def == "" {
			def = "none"
		}
		missing = append(missing, "--"+q.Flag+" ("+def+")")
	}
	if len(missing) == 0 {
		return nil
	}
	errs := []error{fmt.Errorf("there is no terminal to ask on, and not answered are: %s", strings.Join(missing, ", "))}
	for _, p := range start.Answers.Validate() {
		errs = append(errs, p)
		if p.Hint != "" {
			hints = append(hints, p.Hint)
		}
	}
	hints = append(hints, "--yes takes what is in parentheses for them",
		"REGCTL_SETUP_DOMAIN and the like answer too, and --answers FILE; regctl-setup init --help lists them all")
	return usage(errors.Join(errs...), hints...)
}

// previewFiles plans a new deployment with stand-ins for what only writing makes (key and
// password hashes, which take their time), and lists its files. What the answers name, such
// as certificate files, is read and checked.
func (a *app) previewFiles(ans answers.Answers) ([]plannedFile, error) {
	pair, err := keys.Generate(keys.ECDSAP256, keys.Options{Rand: rand.Reader, Now: a.now, CommonName: ans.Resolve().Issuer})
	if err != nil {
		return nil, err
	}
	m := scaffold.Material{AuthKeyPEM: pair.KeyPEM(), CertPEM: pair.CertPEM(), Bundle: keys.Bundle(pair.Chain...), JWKS: []byte("{}")}
	for _, u := range ans.Accounts() {
		m.Users = append(m.Users, scaffold.UserHash{Name: u.Name, Hash: secret.New("stand-in"), Labels: u.Labels})
	}
	if m.HTTPSecret, err = scaffold.NewHTTPSecret(a.rand); err != nil {
		return nil, err
	}
	if err := a.givenMaterial(ans.Resolve(), &m); err != nil {
		return nil, err
	}
	files, err := scaffold.Plan(ans, m)
	if err != nil {
		return nil, err
	}
	out := make([]plannedFile, len(files))
	for i, f := range files {
		out[i] = plannedFile{Path: f.Path, Mode: f.Mode, State: "new"}
	}
	return out, nil
}
