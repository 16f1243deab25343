package extprog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// The exit statuses of a program with rules.
const (
	rulesAllowed = 0
	rulesDenied  = 1
)

// Rules decides by asking a program, as docker_auth's ext_authz. It always has an answer:
// what is asked after it in docker_auth is never reached.
type Rules struct {
	pool   *Pool
	prog   Program
	limits Limits
}

// NewRules returns rules that run prog in the pool.
func NewRules(pool *Pool, prog Program, limits Limits) *Rules {
	return &Rules{pool: pool, prog: prog, limits: limits.withDefaults()}
}

// Name is the config's section.
func (r *Rules) Name() string { return r.prog.Name }

// question is what the program reads; the names are those of docker_auth's own type.
type question struct {
	Account string
	Type    string
	Name    string
	Service string
	IP      string
	Actions []string
	Labels  map[string][]string
}

// Authorize asks the program and returns what it grants: all that was asked, or nothing.
// matched is true: the program has decided. Where no turn comes the error is an
// [*authn.BusyError].
func (r *Rules) Authorize(ctx context.Context, req *acl.Request) (granted []string, matched bool, err error) {
	q := question{
		Account: req.Account, Type: req.Type, Name: req.Name, Service: req.Service,
		Actions: slices.Clone(req.Actions), Labels: req.Labels,
	}
	if len(q.Actions) == 0 {
		return nil, true, nil // nothing to grant
	}
	if req.IP.IsValid() {
		q.IP = req.IP.Unmap().WithZone("").String()
	}
	input, err := json.Marshal(q)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", r.prog.Name, err)
	}
	res, err := r.pool.Run(ctx, r.prog, input, r.limits)
	if err != nil {
		return nil, false, r.pool.failed(ctx, r.prog, r.limits, err, complaint(res.Stderr, secret.Text{}))
	}
	switch res.Status {
	case rulesAllowed:
		return q.Actions, true, nil
	case rulesDenied:
		return nil, true, nil
	}
	return nil, false, badStatus(r.prog, res.Status, "0 or 1", complaint(res.Stderr, secret.Text{}))
}
