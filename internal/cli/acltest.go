package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

type aclTestOptions struct {
	typ, service, ip string
	labels           []string
	explain          bool
	cases            aclCasesOptions
}

func newACLTestCommand(a *app) *cobra.Command {
	var o aclTestOptions
	c := &cobra.Command{
		Use:   "test [USER REPO ACTION...]",
		Short: "Tell whether USER may do every ACTION on REPO, or run the deployment's test cases",
		Long: `Tell whether USER may do every ACTION on REPO, which entry of the rules decides,
and for each entry above it the field that did not match.

USER is a name of the config; "" or anonymous is who does not log in. REPO is a
repository without tag, or registry:catalog. ACTION is pull, push, delete or "*".
An account that the config does not know (it lives in LDAP, say) is asked for with
--label. Where entries depend on the client's address, --ip names it; without it the
answer is yes only when it is the same for every address.

Without arguments the cases of conf/acl-tests.yml are run: who must be allowed what, and
what must be denied, where "push prod/**" speaks of all names that can exist.

Exit status 0 when all actions are granted or all cases hold, 1 when not or when no case
was run, 2 for a question that can't be asked, 3 when the rules or the cases can't be
read. Changes nothing on disk.`,
		Example: `  regctl-setup acl test developer dev-backend/api push
  regctl-setup acl test anonymous library/nginx pull --ip 203.0.113.7
  regctl-setup acl test admin registry:catalog '*' --format json
  regctl-setup acl test --run backend --output junit`,
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n == 1 || n == 2 {
				return usage(fmt.Errorf("expected USER REPO ACTION..., or nothing to run the test cases; received %d of them", n))
			}
			return nil
		},
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			if err := checkTestFlags(cmd.Flags(), len(args) == 0); err != nil {
				return err
			}
			if len(args) == 0 {
				return runACLCases(cmd.Context(), a, o.cases)
			}
			return runACLTest(a, cmd, o, args)
		}),
	}
	f := c.Flags()
	f.StringVar(&o.typ, "type", "repository", "the resource's type")
	f.StringVar(&o.service, "service", "", "the registry's service name (default: the deployment's)")
	f.StringVar(&o.ip, "ip", "", "the client's address")
	f.StringArrayVar(&o.labels, "label", nil, "a label `KEY=VALUE` of an account that lives elsewhere; repeat to collect")
	f.BoolVar(&o.explain, "explain", false, "show every entry as a table of hits and misses by field")
	o.cases.register(f)
	return c
}

type aclEntryJSON struct {
	Index   int    `json:"index"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Comment string `json:"comment"`
}

type aclStepJSON struct {
	Index   int    `json:"index"`
	Line    int    `json:"line"`
	Matched bool   `json:"matched"`
	Field   string `json:"field"`
	Pattern string `json:"pattern"`
	Value   string `json:"value"`
	Comment string `json:"comment,omitempty"`
}

type aclTestJSON struct {
	Allowed   bool          `json:"allowed"`
	User      string        `json:"user"`
	Type      string        `json:"type"`
	Name      string        `json:"name"`
	Service   string        `json:"service"`
	Requested []string      `json:"requested"`
	Granted   []string      `json:"granted"`
	Entry     *aclEntryJSON `json:"entry"`
	Trace     []aclStepJSON `json:"trace"`
	Reason    string        `json:"reason,omitempty"`
}

func runACLTest(a *app, cmd *cobra.Command, o aclTestOptions, args []string) error {
	file, d, err := a.loadConfig(cmd.Context())
	if err != nil {
		return err
	}
	req, err := aclQuestion(o, args)
	if err != nil {
		return err
	}
	labels, reason, err := a.accountFor(file, req.Account, o.labels)
	if err != nil {
		return err
	}
	req.Labels = labels
	if req.Service = o.service; !flagSet(cmd.Flags(), "service") {
		if req.Service, err = serviceOf(cmd.Context(), d, file); err != nil {
			return fail(err)
		}
	}
	if len(file.Extras.Services) > 0 && !slices.Contains(file.Extras.Services, req.Service) {
		reason = fmt.Sprintf("the token server signs for the services %q only, not for %q", file.Extras.Services, req.Service)
	}
	policy, err := a.policy(file, d)
	if err != nil {
		return err
	}
	ans := decideEverywhere(policy, req, o.ip != "")
	ans.fill(file, req, reason)
	if a.json() {
		if err := a.printJSON(ans.json); err != nil {
			return err
		}
	} else {
		a.printACLAnswer(d, policy, ans, o.explain)
	}
	if !ans.json.Allowed {
		return no()
	}
	return nil
}

// aclQuestion turns the arguments into a request, without labels and service.
func aclQuestion(o aclTestOptions, args []string) (*acl.Request, error) {
	r := &acl.Request{Account: args[0], Type: o.typ, Name: args[1]}
	if r.Account == anonymousName {
		r.Account = ""
	}
	if r.Name == "registry:catalog" {
		r.Type, r.Name = "registry", "catalog"
	}
	if err := checkRepo(r.Name); err != nil {
		return nil, err
	}
	for _, arg := range args[2:] {
		for _, action := range strings.Split(arg, ",") {
			if action == "" || strings.ContainsAny(action, " :/") {
				return nil, usage(fmt.Errorf("action %q: expected pull, push, delete or *", action))
			}
			r.Actions = append(r.Actions, action)
		}
	}
	slices.Sort(r.Actions)
	r.Actions = slices.Compact(r.Actions)
	if o.ip != "" {
		ip, err := netip.ParseAddr(o.ip)
		if err != nil {
			return nil, usage(fmt.Errorf("--ip %q is not an IP address", o.ip))
		}
		r.IP = ip.Unmap()
	}
	return r, nil
}

// checkRepo refuses a name with a tag or digest: rights belong to repositories.
func checkRepo(name string) error {
	if name == "" {
		return usage(fmt.Errorf("the repository's name is empty"))
	}
	if repo, _, ok := strings.Cut(name, "@"); ok {
		return usage(fmt.Errorf("%q has a digest: rights belong to whole repositories", name), fmt.Sprintf("ask for %s", repo))
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.Contains(name[i:], "/") {
		return usage(fmt.Errorf("%q has a tag: rights belong to whole repositories", name), fmt.Sprintf("ask for %s", name[:i]))
	}
	return nil
}

// anonymousName is what people call the account "" on the command line.
const anonymousName = "anonymous"

// accountFor finds the account's labels. The reason is not empty where the account
// can't log in at all.
func (a *app) accountFor(file *config.File, account string, labelArgs []string) (labels map[string][]string, reason string, err error) {
	given, err := parseLabels(labelArgs)
	if err != nil {
		return nil, "", err
	}
	u, known := file.User(account)
	switch {
	case known && len(given) > 0:
		a.note("note: with the labels of the command line, not with those that %q has in the file", account)
		return given.asMap(), cantLogIn(a, u), nil
	case known:
		return u.LabelMap(), cantLogIn(a, u), nil
	case len(given) > 0:
		return given.asMap(), "", nil
	case account == "" && !file.HasExternalLogin():
		return nil, `anonymous can't log in: the config has no user ""`, nil
	case account == "":
		return nil, "", nil
	case file.HasExternalLogin():
		a.note("note: %q is not in users: evaluated without labels, as an account of the external login", account)
		return nil, "", nil
	}
	hints := []string{"regctl-setup user list", "for an account that lives elsewhere, give its labels: --label KEY=VALUE"}
	if near := nearest(account, file); near != "" {
		hints = append([]string{fmt.Sprintf("did you mean %q?", near)}, hints...)
	}
	return nil, "", usage(fmt.Errorf("no user %q in %s", account, file.Path), hints...)
}

func cantLogIn(a *app, u *config.User) string {
	switch {
	case u.Disabled:
		return fmt.Sprintf("%q can't log in: disabled", u.Name)
	case !u.Expires.IsZero() && !a.now().Before(u.Expires):
		return fmt.Sprintf("%q can't log in: expired on %s", u.Name, u.Expires.UTC().Format("2006-01-02 15:04 MST"))
	}
	return ""
}

// aclAnswer is the decision over all addresses that the question leaves open.
type aclAnswer struct {
	decision  acl.Decision
	granted   []string // by every address
	steps     []acl.Step
	ipEntries []int // entries (0-based) with an ip field, where the answer hangs on the address
	undecided bool  // rules that live elsewhere decide
	json      aclTestJSON
}

// decideEverywhere asks for the given address, or for one address of each cell that the
// rules tell apart; the answer is then the least that any of them gets.
func decideEverywhere(p *acl.Policy, req *acl.Request, ipGiven bool) *aclAnswer {
	cells := []netip.Addr{req.IP}
	if !ipGiven {
		cells = p.IPCells()
	}
	var ans *aclAnswer
	differ := false
	for _, ip := range cells {
		r := *req
		r.IP = ip
		d, steps := p.Explain(&r)
		granted := slices.Clone(d.Granted)
		if ans == nil {
			ans = &aclAnswer{decision: d, granted: granted, steps: steps}
			continue
		}
		if !slices.Equal(granted, ans.granted) {
			differ = true
		}
		least := intersect(ans.granted, granted)
		if len(least) < len(ans.granted) {
			ans.decision, ans.steps = d, steps
		}
		ans.granted = least
	}
	if differ {
		for i, e := range p.Entries() {
			if e.Match.IP != nil {
				ans.ipEntries = append(ans.ipEntries, i)
			}
		}
	}
	return ans
}

func intersect(a, b []string) []string {
	var out []string
	for _, s := range a {
		if slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func (ans *aclAnswer) fill(file *config.File, req *acl.Request, reason string) {
	if reason != "" {
		ans.granted = nil
	} else if ans.decision.Err != nil {
		reason = ans.decision.Err.Error()
	} else if len(ans.ipEntries) > 0 {
		reason = fmt.Sprintf("the answer depends on the client's address (%s): ask with --ip", entryNumbers(ans.ipEntries))
	} else if rules := file.ExternalRules(); ans.decision.Index < 0 && len(rules) > 0 {
		ans.undecided = true
		reason = fmt.Sprintf("no entry matches, so that %s decides, which only the token server asks", strings.Join(rules, ", then "))
	}
	ans.json = aclTestJSON{
		Allowed: len(ans.granted) == len(req.Actions), User: req.Account, Type: req.Type, Name: req.Name, Service: req.Service,
		Requested: req.Actions, Granted: ans.granted, Trace: []aclStepJSON{}, Reason: reason,
	}
	if ans.json.Granted == nil {
		ans.json.Granted = []string{}
	}
	if i := ans.decision.Index; i >= 0 {
		e := file.ACL[i]
		ans.json.Entry = &aclEntryJSON{Index: i + 1, File: e.Pos.File, Line: e.Pos.Line, Comment: e.Comment}
	}
	for _, s := range ans.steps {
		e := file.ACL[s.Index]
		ans.json.Trace = append(ans.json.Trace, aclStepJSON{
			Index: s.Index + 1, Line: e.Pos.Line, Matched: s.Matched,
			Field: s.Field, Pattern: s.Pattern, Value: s.Value, Comment: e.Comment,
		})
	}
}

func entryNumbers(indexes []int) string {
	texts := make([]string, len(indexes))
	for i, n := range indexes {
		texts[i] = fmt.Sprint(n + 1)
	}
	if len(texts) == 1 {
		return "entry " + texts[0]
	}
	return "entries " + strings.Join(texts, ", ")
}
