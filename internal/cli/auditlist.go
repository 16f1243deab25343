package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// auditFlags are the questions to the audit log, which all of its commands share.
type auditFlags struct {
	account, repo, since, until, requestID, jti string
	actions, addresses, kinds                   []string
	denied, utc                                 bool
	limit                                       int
	path, log                                   string
}

func newAuditCommand(a *app) *cobra.Command {
	var q auditFlags
	c := &cobra.Command{
		Use:   "audit",
		Short: "Ask the audit log who did what, who was refused, and whether it was tampered with",
		Long: `List records of the audit log: decisions of the token server, what the registry reports
(pull, push, mount, delete), and changes made by this command line.

Without flags all records are asked for; of a text list the last 100 are shown (--limit).
--repo takes a name pattern: "*" stands for text within a component, "**" across components.
--since and --until take a time (2026-11-23T22:00:00Z), a date, "today", "yesterday", or how
long ago: 30m, 24h, 7d. Times are shown in this machine's zone, with --utc in UTC; in JSON and
CSV always in UTC.

For a deployment whose registry reports nowhere, --log FILE reads the registry's own log in JSON
("-": standard input) instead: docker compose logs --no-color registry | regctl-setup audit --log -

Exit status 0 when records were found, 1 when there are none. Changes nothing on disk.`,
		Example: `  regctl-setup audit --denied --since yesterday --until today
  regctl-setup audit --repo 'dev-backend/**' --action push --since 7d
  regctl-setup audit --account alice --format csv > alice.csv
  regctl-setup audit who-pushed dev-backend/api:1.4`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{formatsAnnotation: "csv"},
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			return a.auditList(cmd, &q)
		}),
	}
	f := c.PersistentFlags()
	f.StringVar(&q.account, "account", "", "who it was, or is concerned (\"anonymous\": who did not log in)")
	f.StringVar(&q.repo, "repo", "", "repositories of this name `PATTERN`")
	f.StringSliceVar(&q.actions, "action", nil, "pull, push, mount, delete or * (repeat for several)")
	f.StringVar(&q.since, "since", "", "from this `TIME` on")
	f.StringVar(&q.until, "until", "", "before this `TIME`")
	f.BoolVar(&q.denied, "denied", false, "only what was refused")
	f.StringSliceVar(&q.addresses, "address", nil, "clients of this address or network (`CIDR`)")
	f.StringSliceVar(&q.kinds, "kind", nil, "token, event, change or gap")
	f.StringVar(&q.requestID, "request-id", "", "records of this request")
	f.StringVar(&q.jti, "jti", "", "records of the token with this id")
	f.BoolVar(&q.utc, "utc", false, "read and show times in UTC")
	f.StringVar(&q.path, "path", "", "the log's `FOLDER`, where it is not the deployment's")
	f.StringVar(&q.log, "log", "", "read the registry's own JSON log from `FILE` (-: standard input) instead")
	c.Flags().IntVar(&q.limit, "limit", 100, "show the last `N` records in a text list; 0: all")
	c.AddCommand(newAuditTailCommand(a, &q), newAuditWhoPushedCommand(a, &q), newAuditTopCommand(a, &q), newAuditReportCommand(a, &q), newAuditVerifyCommand(a, &q), newAuditServeCommand(a))
	return c
}

// zone is the one that times are read and shown in.
func (q *auditFlags) zone() *time.Location {
	if q.utc {
		return time.UTC
	}
	return time.Local
}

// filter turns the flags into a question.
func (q *auditFlags) filter(now time.Time) (*audit.Filter, error) {
	f := &audit.Filter{Denied: q.denied, RequestID: q.requestID, TokenID: q.jti, Actions: q.actions}
	var errs []error
	if q.account != "" {
		f.HasAccount, f.Account = true, q.account
		if q.account == "anonymous" {
			f.Account = ""
		}
	}
	if q.repo != "" {
		var err error
		if f.Repository, f.RepositoryText, err = namesOf(q.repo); err != nil {
			return nil, err
		}
	}
	var err error
	if f.Since, err = parseWhen(q.since, now, q.zone()); err != nil {
		errs = append(errs, fmt.Errorf("--since %w", err))
	}
	if f.Until, err = parseWhen(q.until, now, q.zone()); err != nil {
		errs = append(errs, fmt.Errorf("--until %w", err))
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		errs = append(errs, errors.New("--since is not before --until"))
	}
	for _, text := range q.addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, aerr := netip.ParseAddr(text)
			if aerr != nil {
				errs = append(errs, fmt.Errorf("--address %q: expected an address or a network as 10.0.0.0/8", text))
				continue
			}
			p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		f.Addresses = append(f.Addresses, p.Masked())
	}
	for _, k := range q.kinds {
		switch kind := audit.Kind(k); kind {
		case audit.KindToken, audit.KindEvent, audit.KindChange, audit.KindGap:
			f.Kinds = append(f.Kinds, kind)
		default:
			errs = append(errs, fmt.Errorf("--kind %q: expected token, event, change or gap", k))
		}
	}
	for _, action := range q.actions {
		if !slices.Contains([]string{"pull", "push", "mount", "delete", "*"}, action) {
			errs = append(errs, fmt.Errorf("--action %q: expected pull, push, mount, delete or *", action))
		}
	}
	if len(errs) > 0 {
		return nil, usage(errors.Join(errs...))
	}
	return f, nil
}

// namesOf judges names by a pattern, and returns a text that each of them has in it.
func namesOf(pattern string) (match func(string) bool, text string, err error) {
	p, err := namePattern(pattern)
	if err != nil {
		return nil, "", err
	}
	if p.Literal() {
		return func(name string) bool { return name == pattern }, pattern, nil
	}
	re, err := regexp.Compile(strings.Trim(p.ToRegexp(), "/"))
	if err != nil {
		return nil, "", usage(fmt.Errorf("--repo %q: %w", pattern, err))
	}
	for _, piece := range strings.Split(pattern, "*") {
		if piece = strings.Trim(piece, "/"); len(piece) > len(text) {
			text = piece
		}
	}
	return re.MatchString, text, nil
}

// parseWhen reads a time as people write it; "" is none.
func parseWhen(text string, now time.Time, zone *time.Location) (time.Time, error) {
	now = now.In(zone)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, zone)
	switch text {
	case "":
		return time.Time{}, nil
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q: expected a time (2026-11-23T22:00:00Z), a date, today, yesterday, or how long ago (30m, 24h, 7d)", text)
}

// auditDir is the folder that the flags or the deployment name.
func (q *auditFlags) dir(ctx context.Context, a *app) (string, error) {
	if q.path != "" {
		return q.path, nil
	}
	d, err := a.deployment(ctx)
	if err != nil {
		return "", err
	}
	return d.Path(a.auditPath(d)), nil
}

// auditPath is the log's folder within the deployment. A config that can't be read, or that
// switched the log off, must not hide what was recorded before.
func (a *app) auditPath(d *deployment.Deployment) string {
	data, err := readAuthConfig(d.Auth)
	if err != nil {
		return config.DefaultAudit().Path
	}
	if f, _ := config.Parse(displayPath(d.Auth), data); f != nil {
		return f.Extras.Audit.Path
	}
	return config.DefaultAudit().Path
}

// scan goes through the records that the flags ask for, wherever they are.
func (q *auditFlags) scan(ctx context.Context, a *app, filter *audit.Filter, f func(*audit.Record) error) error {
	var stats audit.ScanStats
	var err error
	switch {
	case q.log != "" && q.path != "":
		return usage(errors.New("--log and --path name two sources; give one"))
	case q.log == "-":
		stats, err = audit.ScanRegistryLog(ctx, a.io.In, filter, f)
	case q.log != "":
		file, oerr := os.Open(q.log)
		if oerr != nil {
			return fail(fmt.Errorf("registry log: %w", oerr))
		}
		defer func() { _ = file.Close() }()
		stats, err = audit.ScanRegistryLog(ctx, bufio.NewReaderSize(file, 1<<20), filter, f)
	default:
		dir, derr := q.dir(ctx, a)
		if derr != nil {
			return derr
		}
		stats, err = audit.Scan(ctx, dir, filter, f)
		if errors.Is(err, fs.ErrNotExist) {
			return fail(fmt.Errorf("there is no audit log in %s", displayPath(dir)),
				"the token server and the events listener write it; docs/audit.md tells how to switch it on",
				"--log FILE reads the registry's own log instead")
		}
	}
	if err != nil {
		var se *statusError
		if errors.As(err, &se) {
			return err
		}
		return fail(err)
	}
	if stats.Unreadable > 0 {
		a.note("note: %s could not be read; regctl-setup audit verify tells which and why", number(stats.Unreadable, "line"))
	}
	return nil
}

func (a *app) auditList(cmd *cobra.Command, q *auditFlags) error {
	filter, err := q.filter(a.now())
	if err != nil {
		return err
	}
	if q.limit < 0 {
		return usage(fmt.Errorf("--limit %d: expected a number from 0 up", q.limit))
	}
	p := a.auditPrinter(q, filter)
	limited := p.text() && q.limit > 0
	open := openChanges{}
	var last []*audit.Record // a ring of the last ones
	n := 0
	if err := p.begin(); err != nil {
		return err
	}
	show := func(r *audit.Record) error {
		n++
		switch {
		case !limited:
			return p.print(r)
		case len(last) < q.limit:
			last = append(last, r.Clone())
		default:
			last[(n-1)%q.limit] = r.Clone()
		}
		return nil
	}
	err = q.scan(cmd.Context(), a, filter, func(r *audit.Record) error {
		if p.text() && open.hold(r) {
			return nil
		}
		return show(r)
	})
	if err != nil {
		return err
	}
	for _, r := range open.left() {
		if err := show(r); err != nil {
			return err
		}
	}
	for i := range last {
		if n > q.limit {
			i = (n + i) % q.limit
		}
		if err := p.print(last[i]); err != nil {
			return err
		}
	}
	if err := p.end(n); err != nil {
		return err
	}
	if n == 0 {
		a.note("no record answers that")
		if q.denied && q.log == "" && q.path == "" {
			a.hintDockerAuth(cmd.Context())
		}
		return no()
	}
	if n > len(last) && limited {
		a.note("the last %d of %d records; --limit 0 shows all", q.limit, n)
	}
	return nil
}

// hintDockerAuth says where refusals stand that this log can't have.
func (a *app) hintDockerAuth(ctx context.Context) {
	d, err := a.deployment(ctx)
	if err != nil {
		return
	}
	if e, err := a.engineOf(d); err == nil && e == answers.EngineDockerAuth {
		a.note("hint: docker_auth decides here, and records nothing: docker compose --project-directory %s logs auth", displayPath(d.Dir))
	}
}

// openChanges are intents of changes whose results have not come yet, by the change's id: one
// line tells of both, unless there never was a result.
type openChanges map[string]*audit.Record

// hold reports whether r is such an intent; it is kept until its result comes.
func (o openChanges) hold(r *audit.Record) bool {
	switch {
	case r.Change == nil:
	case r.Change.Phase == audit.PhaseIntent:
		o[r.Change.ID] = r.Clone()
		return true
	default:
		delete(o, r.Change.ID)
	}
	return false
}

// left lists those that have none.
func (o openChanges) left() []*audit.Record {
	for _, r := range o {
		r.Reason = "what became of it is not recorded: it was interrupted, or is still going on"
	}
	return slices.SortedFunc(maps.Values(o), func(x, y *audit.Record) int { return cmp.Compare(x.Seq, y.Seq) })
}

// auditPrinter shows records as --format says.
type auditPrinter struct {
	a      *app
	out    *bufio.Writer
	csv    *csv.Writer
	format string
	zone   *time.Location
	filter *audit.Filter
	lines  bool // JSON: one object a line, without one around them
	n      int
}

func (a *app) auditPrinter(q *auditFlags, filter *audit.Filter) *auditPrinter {
	p := &auditPrinter{a: a, out: bufio.NewWriter(a.io.Out), format: a.viper.GetString(flagFormat), zone: q.zone(), filter: filter}
	p.csv = csv.NewWriter(p.out)
	return p
}

func (p *auditPrinter) text() bool { return p.format == "text" }

// csvColumns are the columns of --format csv.
func csvColumns() []string {
	return []string{"time", "kind", "result", "account", "verified", "address", "actions", "repository", "tag", "digest", "granted", "entry", "file", "line", "reason", "user_agent", "request_id", "jti", "detail"}
}

func (p *auditPrinter) begin() error {
	var err error
	switch {
	case p.format == "csv":
		err = p.csv.Write(csvColumns())
	case p.format == "json" && !p.lines:
		_, err = p.out.WriteString(`{"records":[`)
	}
	return err
}

func (p *auditPrinter) print(r *audit.Record) error {
	p.n++
	switch p.format {
	case "json":
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if p.lines {
			b = append(b, '\n')
		} else if p.n > 1 {
			_ = p.out.WriteByte(',')
		}
		_, err = p.out.Write(b)
		return err
	case "csv":
		for _, row := range p.rows(r) {
			if err := p.csv.Write(row); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := fmt.Fprintf(p.out, "%s  %-12s  %-16s  %-15s  %s\n", r.Time.In(p.zone).Format("2006-01-02 15:04:05 MST"), auditWhat(r), clip(auditWho(r), 40), addressOrDash(r.Address), p.detail(r))
	return err
}

func (p *auditPrinter) end(n int) error {
	if p.format == "json" && !p.lines {
		_, _ = fmt.Fprintf(p.out, `],"matched":%d}`+"\n", n)
	}
	p.csv.Flush()
	if err := p.out.Flush(); err != nil {
		return fail(fmt.Errorf("write the answer: %w", err))
	}
	return nil
}

// rows are the record's lines in CSV: one a scope.
func (p *auditPrinter) rows(r *audit.Record) [][]string {
	account, verified := r.Account, strconv.FormatBool(r.Authenticated)
	if !r.Authenticated {
		account = r.Presented
	}
	row := func(actions, repo, tag, digest, granted string, s *audit.Scope) []string {
		entry, file, line := "", "", ""
		if s != nil && s.Entry > 0 {
			entry, file, line = strconv.Itoa(s.Entry), s.File, strconv.Itoa(s.Line)
		}
		out := []string{r.Time.UTC().Format(time.RFC3339Nano), string(r.Kind), r.Result, account, verified, addressOrDash(r.Address), actions, repo, tag, digest, granted, entry, file, line, r.Reason, r.UserAgent, r.RequestID, r.TokenID, ""}
		if r.Change != nil {
			out[3], out[4] = r.Change.Login, "true"
		}
		if r.Change != nil || r.Gap != nil {
			out[len(out)-1] = p.detail(r)
		}
		for i, cell := range out {
			// A spreadsheet would take these for formulas, and clients choose some of them.
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) && cell != "-" {
				out[i] = "'" + cell
			}
		}
		return out
	}
	if e := r.Event; e != nil {
		return [][]string{row(e.Action, e.Repository, e.Tag, e.Digest, "", nil)}
	}
	var out [][]string
	for i := range r.Scopes {
		if s := &r.Scopes[i]; p.filter.Scope(s) {
			out = append(out, row(strings.Join(s.Asked, " "), s.Name, "", "", strings.Join(s.Granted, " "), s))
		}
	}
	if len(out) == 0 {
		out = append(out, row("", "", "", "", "", nil))
	}
	return out
}

// detail says what it was about, in one line.
func (p *auditPrinter) detail(r *audit.Record) string {
	switch {
	case r.Event != nil:
		e := r.Event
		text := visible(e.Repository)
		if e.Tag != "" {
			text += ":" + visible(e.Tag)
		}
		if e.Digest != "" {
			text += "  " + shortDigest(e.Digest)
		}
		if e.FromRepository != "" {
			text += "  from " + visible(e.FromRepository)
		}
		if r.Result != "" {
			text += fmt.Sprintf("  %s (%d)", visible(r.Result), r.Status)
		}
		return text + agentText(r)
	case r.Change != nil:
		c := r.Change
		parts := slices.Clone(c.What)
		for _, g := range c.Gains {
			parts = append(parts, "gained: "+g)
		}
		for _, l := range c.Losses {
			parts = append(parts, "lost: "+l)
		}
		text := visible(c.Command) + ": " + visible(strings.Join(parts, "; "))
		if r.Reason != "" {
			text += " (" + visible(r.Reason) + ")"
		}
		return text
	case r.Gap != nil:
		return gapText(r)
	}
	var parts []string
	for i := range r.Scopes {
		s := &r.Scopes[i]
		if !p.filter.Scope(s) {
			continue
		}
		if text := scopeText(s); !slices.Contains(parts, text) { // clients ask for the same thing twice
			parts = append(parts, text)
		}
	}
	if r.Reason != "" {
		parts = append(parts, visible(r.Reason))
	}
	return strings.Join(parts, "; ") + agentText(r)
}

func agentText(r *audit.Record) string {
	if r.UserAgent == "" {
		return ""
	}
	return "  [" + clip(visible(r.UserAgent), 40) + "]"
}

func scopeText(s *audit.Scope) string {
	text := strings.Join(s.Asked, ",") + " on " + visible(s.Name)
	if s.Type != "repository" {
		text = strings.Join(s.Asked, ",") + " on " + visible(s.Type+":"+s.Name)
	}
	text = visible(text)
	switch {
	case !s.Refused():
		text += " granted"
	case len(s.Granted) > 0:
		left := slices.DeleteFunc(slices.Clone(s.Asked), func(a string) bool { return slices.Contains(s.Granted, a) })
		text += ": " + visible(strings.Join(left, ",")) + " refused, " + visible(strings.Join(s.Granted, ",")) + " granted"
	default:
		text += " refused"
	}
	switch {
	case s.Error != "":
		text += " (" + visible(s.Error) + ")"
	case s.Entry > 0:
		text += fmt.Sprintf(" by entry %d, %s:%d", s.Entry, visible(s.File), s.Line)
		if s.Comment != "" {
			text += " (" + visible(s.Comment) + ")"
		}
	default:
		text += ": no entry matches"
	}
	return text
}

func gapText(r *audit.Record) string {
	g := r.Gap
	switch g.Kind {
	case audit.GapUnrecorded:
		return fmt.Sprintf("%s since %s could not be written: %s", number(int(min(g.Lost, math.MaxInt)), "record"), g.Since.Format(time.RFC3339), visible(r.Reason))
	case audit.GapTorn:
		return fmt.Sprintf("a line was cut by a crash while it was written (%d bytes)", g.Bytes)
	case audit.GapMissing:
		return "lines at the end of the log were missing"
	case audit.GapHead:
		return "the log's head was missing"
	}
	return visible(string(g.Kind))
}

// auditWhat is the column that says what happened.
func auditWhat(r *audit.Record) string {
	switch {
	case r.Event != nil:
		return visible(r.Event.Action)
	case r.Change != nil:
		if r.Change.Phase == audit.PhaseIntent {
			return "change begun"
		}
		return visible("change " + r.Result)
	case r.Kind == audit.KindGap:
		return "gap"
	}
	return visible(r.Result)
}

// auditWho is the column that says who it was.
func auditWho(r *audit.Record) string {
	switch {
	case r.Change != nil && r.Change.SudoUser != "":
		return visible(r.Change.Login + " (sudo " + r.Change.SudoUser + ")")
	case r.Change != nil:
		return visible(r.Change.Login)
	case r.Kind == audit.KindGap:
		return "-"
	case r.Authenticated && r.Account == "":
		return "anonymous"
	case r.Authenticated:
		return visible(r.Account)
	case r.Presented != "":
		return visible(r.Presented) + "?"
	}
	return "?"
}

func addressOrDash(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

func shortDigest(d string) string {
	algorithm, hash, ok := strings.Cut(d, ":")
	if !ok || len(hash) <= 12 {
		return visible(d)
	}
	return visible(algorithm + ":" + hash[:12])
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// visible keeps a text that somebody else chose from drawing on the terminal.
func visible(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func newAuditTailCommand(a *app, q *auditFlags) *cobra.Command {
	var follow bool
	var n int
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show the last records, and with -f those that come",
		Long: `Show the last records that the flags of audit ask for, and with -f wait for more until
Ctrl-C. With --format json each record is an object on a line of its own.

Changes nothing on disk.`,
		Example:     `  regctl-setup audit tail -f --denied`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{formatsAnnotation: "csv"},
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			filter, err := q.filter(a.now())
			if err != nil {
				return err
			}
			if n < 0 {
				return usage(fmt.Errorf("-n %d: expected a number from 0 up", n))
			}
			if q.log != "" && follow {
				return usage(errors.New("-f follows the audit log; --log can't be followed"), "docker compose logs -f registry | regctl-setup audit --log - --limit 0")
			}
			p := a.auditPrinter(q, filter)
			p.lines = true
			if err := p.begin(); err != nil {
				return err
			}
			var last []*audit.Record
			seq := uint64(0)
			open := openChanges{}
			err = q.scan(cmd.Context(), a, nil, func(r *audit.Record) error {
				seq = max(seq, r.Seq)
				if !filter.Match(r) || p.text() && open.hold(r) {
					return nil
				}
				if last = append(last, r.Clone()); len(last) > 2*max(n, 64) {
					last = slices.Delete(last, 0, len(last)-max(n, 1))
				}
				return nil
			})
			if err != nil {
				return err
			}
			last = append(last, open.left()...)
			for _, r := range last[max(0, len(last)-n):] {
				if err := p.print(r); err != nil {
					return err
				}
			}
			if err := p.end(0); err != nil || !follow {
				return err
			}
			dir, err := q.dir(cmd.Context(), a)
			if err != nil {
				return err
			}
			err = audit.Follow(cmd.Context(), dir, seq, filter, func(r *audit.Record) error {
				if p.text() && r.Change != nil && r.Change.Phase == audit.PhaseIntent {
					return nil // its result comes within moments; a later look shows one that did not
				}
				if err := p.print(r); err != nil {
					return err
				}
				return p.end(0)
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				return fail(err)
			}
			return nil
		}),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	c.Flags().IntVarP(&n, "lines", "n", 10, "show the last `N` records")
	return c
}

func newAuditWhoPushedCommand(a *app, q *auditFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "who-pushed REPO[:TAG|@DIGEST]",
		Short: "Tell who pushed an image, when, from where, and with which token",
		Long: `Tell who pushed REPO, its TAG or the manifest with DIGEST, the latest push first. The
registry's name in front of REPO is passed over.

The registry does not report with which token something was pushed: "probably" names the
decision of the same account from the same address that allowed it at the time.

Exit status 0 when somebody did, 1 when the log knows of no such push. Changes nothing on disk.`,
		Example:     `  regctl-setup audit who-pushed dev-backend/api:1.4`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{formatsAnnotation: "csv"},
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			repo, tag, digest, err := imageRef(args[0])
			if err != nil {
				return err
			}
			filter, err := q.filter(a.now())
			if err != nil {
				return err
			}
			filter.Kinds, filter.Actions = []audit.Kind{audit.KindEvent}, []string{"push"}
			filter.Repository, filter.RepositoryText = func(n string) bool { return n == repo }, repo
			var pushes []*audit.Record
			err = q.scan(cmd.Context(), a, filter, func(r *audit.Record) error {
				if r.Event.Repository == repo && (tag == "" || r.Event.Tag == tag) && (digest == "" || r.Event.Digest == digest) && r.Result == "" {
					pushes = append(pushes, r.Clone())
				}
				return nil
			})
			if err != nil {
				return err
			}
			slices.SortStableFunc(pushes, func(x, y *audit.Record) int { return y.Time.Compare(x.Time) })
			if !a.textFormat() {
				p := a.auditPrinter(q, nil)
				if err := p.begin(); err != nil {
					return err
				}
				for _, r := range pushes {
					if err := p.print(r); err != nil {
						return err
					}
				}
				if err := p.end(len(pushes)); err != nil {
					return err
				}
			}
			if len(pushes) == 0 {
				a.note("the log knows of no push of %s", visible(args[0]))
				a.note("hint: regctl-setup audit --repo %s --action push   shows who was allowed to, or refused", visible(repo))
				return no()
			}
			if a.textFormat() {
				for _, r := range pushes {
					a.out("%s  %s  from %s  %s%s", r.Time.In(q.zone()).Format("2006-01-02 15:04:05 MST"), auditWho(r), addressOrDash(r.Address), pushedText(r), agentText(r))
					if r.Event.Join != "" {
						a.out("    probably with token %s of request %s", visible(r.Event.JoinTokenID), visible(r.Event.JoinRequestID))
					}
				}
			}
			return nil
		}),
	}
}

func (a *app) textFormat() bool { return a.viper.GetString(flagFormat) == "text" }

func pushedText(r *audit.Record) string {
	text := visible(r.Event.Repository)
	if r.Event.Tag != "" {
		text += ":" + visible(r.Event.Tag)
	}
	return text + "  " + visible(r.Event.Digest)
}

// imageRef splits REPO[:TAG][@DIGEST], passing over a registry's name in front.
func imageRef(text string) (repo, tag, digest string, err error) {
	repo, digest, _ = strings.Cut(text, "@")
	if host, rest, ok := strings.Cut(repo, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		repo = rest
	}
	if i := strings.LastIndexByte(repo, ':'); i >= 0 {
		repo, tag = repo[:i], repo[i+1:]
	}
	if repo == "" || strings.ContainsAny(repo, "*: ") || digest != "" && !strings.Contains(digest, ":") {
		return "", "", "", usage(fmt.Errorf("%q: expected REPO, REPO:TAG or REPO@sha256:…", text))
	}
	return repo, tag, digest, nil
}

func newAuditVerifyCommand(a *app, q *auditFlags) *cobra.Command {
	var head string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that no line of the audit log was altered, removed or cut off",
		Long: `Check every line against the hash chain, the line numbers and the head, and tell by FILE:LINE
where the log is not what it was.

It prints the head, COUNT:HASH. Who can write the folder can also write the whole log anew:
keep the head somewhere else now and then, and give it with --head; then that is noticed too.

Exit status 0 when the log is intact, 1 when not. Changes nothing on disk.`,
		Example: `  regctl-setup audit verify
  regctl-setup audit verify --head 4711:9f2c…`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			var o audit.VerifyOptions
			if head != "" {
				h, err := audit.ParseHead(head)
				if err != nil {
					return usage(fmt.Errorf("--head: %w", err))
				}
				o.Head = &h
			}
			dir, err := q.dir(cmd.Context(), a)
			if err != nil {
				return err
			}
			rep, err := audit.Verify(cmd.Context(), dir, o)
			if err != nil {
				return fail(err)
			}
			return a.printVerify(dir, rep)
		}),
	}
	c.Flags().StringVar(&head, "head", "", "a head that was kept elsewhere, `COUNT:HASH`")
	return c
}

func (a *app) printVerify(dir string, rep *audit.Report) error {
	if a.json() {
		findings := rep.Findings
		if findings == nil {
			findings = []audit.Finding{}
		}
		err := a.printJSON(map[string]any{
			"intact": rep.Intact(), "files": rep.Files, "lines": rep.Lines, "first": rep.First, "head": rep.Head.String(),
			"torn": rep.Torn, "unrecorded": rep.Unrecorded, "findings": findings,
		})
		if err != nil || rep.Intact() {
			return err
		}
		return no()
	}
	for _, f := range rep.Findings {
		a.out("%s/%s", displayPath(dir), f)
	}
	if rep.Torn > 0 {
		a.note("note: %d lines were cut by a crash while they were written; nobody had been told that they were recorded", rep.Torn)
	}
	if rep.Unrecorded > 0 {
		a.note("note: the log tells itself of %s that could not be written: regctl-setup audit --kind gap", number(int(min(rep.Unrecorded, math.MaxInt)), "record"))
	}
	if !rep.Intact() {
		return refuse(fmt.Errorf("the audit log was changed: %s in %s of %s", number(len(rep.Findings), "finding"), number(rep.Lines, "line"), number(rep.Files, "file")),
			"copy the folder away before anything else writes to it; what stands before the first finding can be trusted as far as the machine can")
	}
	a.out("intact: lines %d to %d in %s", rep.First, rep.Head.Count, number(rep.Files, "file"))
	a.out("head: %s", rep.Head)
	return nil
}
