package cli

import (
	"context"
	_ "embed" // the report's page
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func newAuditTopCommand(a *app, q *auditFlags) *cobra.Command {
	var by string
	var n int
	c := &cobra.Command{
		Use:   "top",
		Short: "Count pulls, pushes, deletes and refusals by repository, account or address",
		Long: `Count what the registry reported and what the token server refused, by repository, account or
address; the most first. On a terminal bars show the proportions.

The flags of audit choose what is counted. Changes nothing on disk.`,
		Example: `  regctl-setup audit top --since 7d
  regctl-setup audit top --by account --denied`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{formatsAnnotation: "csv"},
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"repository", "account", "address"}, by) {
				return usage(fmt.Errorf("--by %q: expected repository, account or address", by))
			}
			s, err := q.summary(cmd.Context(), a)
			if err != nil {
				return err
			}
			rows := s.Repositories(n)
			switch by {
			case "account":
				rows = s.Accounts(n)
			case "address":
				rows = s.Addresses(n)
			}
			return a.printTop(by, rows, s)
		}),
	}
	c.Flags().StringVar(&by, "by", "repository", "repository, account or address")
	c.Flags().IntVarP(&n, "lines", "n", 20, "show the first `N`; 0: all")
	return c
}

// summary counts the records that the flags ask for.
func (q *auditFlags) summary(ctx context.Context, a *app) (*audit.Summary, error) {
	filter, err := q.filter(a.now())
	if err != nil {
		return nil, err
	}
	s := audit.NewSummary()
	err = q.scan(ctx, a, filter, func(r *audit.Record) error {
		s.Add(r)
		return nil
	})
	return s, err
}

// barWidth is how many characters the longest bar has.
const barWidth = 24

func (a *app) printTop(by string, rows []audit.Row, s *audit.Summary) error {
	if a.json() {
		if rows == nil {
			rows = []audit.Row{}
		}
		return a.printJSON(map[string]any{"by": by, "rows": rows, "total": s.Total})
	}
	if !a.textFormat() {
		a.out("%s,pulls,pushes,mounts,deletes,denied,tokens", by)
		for _, r := range rows {
			name := r.Name
			if name != "" && strings.ContainsRune("=+-@", rune(name[0])) {
				name = "'" + name
			}
			a.out("%q,%d,%d,%d,%d,%d,%d", name, r.Pulls, r.Pushes, r.Mounts, r.Deletes, r.Denied, r.Tokens)
		}
		return nil
	}
	if len(rows) == 0 {
		a.note("no record answers that")
		return nil
	}
	most := 1
	for i := range rows {
		most = max(most, rows[i].Total())
	}
	lines := make([]string, len(rows))
	for i := range rows {
		lines[i] = visible(rows[i].Name)
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(tw, "PULLS\tPUSHES\tDELETES\tDENIED\tTOKENS\t")
	for i := range rows {
		r := &rows[i]
		_, _ = fmt.Fprintf(tw, "%d\t%d\t%d\t%d\t%d\t\n", r.Pulls, r.Pushes+r.Mounts, r.Deletes, r.Denied, r.Tokens)
	}
	if err := tw.Flush(); err != nil {
		return fail(err)
	}
	table := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, numbers := range table {
		text, bar := strings.ToUpper(by), ""
		if i > 0 {
			text = lines[i-1]
			if a.io.OutIsTerminal() {
				bar = fmt.Sprintf("%-*s  ", barWidth, strings.Repeat("█", (rows[i-1].Total()*barWidth+most-1)/most))
			}
		} else if a.io.OutIsTerminal() {
			bar = fmt.Sprintf("%-*s  ", barWidth, "")
		}
		a.out("%s  %s%s", numbers, bar, text)
	}
	if s.Total.Pulls+s.Total.Pushes == 0 && s.Total.Tokens > 0 {
		a.note("note: only tokens are in the log: the registry reports no pulls and pushes (docs/audit.md tells how it does)")
	}
	return nil
}

//go:embed auditreport.html.tmpl
var auditReportPage string

func newAuditReportCommand(a *app, q *auditFlags) *cobra.Command {
	var html string
	c := &cobra.Command{
		Use:   "report --html FILE",
		Short: "Write a page with pulls and pushes over time, the busiest names, and refusals",
		Long: `Write one page that needs nothing else: pulls and pushes over time, the repositories and
accounts with the most of them, and who was refused what by which entry.

The flags of audit choose what it covers. Writes FILE ("-": standard output).`,
		Example: `  regctl-setup audit report --since 30d --html report.html`,
		Args:    cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			if html == "" {
				return usage(errors.New("report needs --html FILE"))
			}
			s, err := q.summary(cmd.Context(), a)
			if err != nil {
				return err
			}
			page, err := reportPage(s, a.now(), q)
			if err != nil {
				return fail(err)
			}
			if html == "-" {
				_, err := a.io.Out.Write(page)
				return err
			}
			if err := safefile.Replace(html, page, safefile.Options{Mode: 0o600}); err != nil {
				return safefileError(err)
			}
			a.note("wrote %s", displayPath(html))
			return nil
		}),
	}
	c.Flags().StringVar(&html, "html", "", "the `FILE` to write")
	return c
}

// reportBar is a span of time in the chart; heights are in its units.
type reportBar struct {
	X, W                  float64
	PullY, PullH          float64
	PushY, PushH          float64
	DeniedY, DeniedH      float64
	Title, Label          string
	Pulls, Pushes, Denied int
}

// The chart's size in its own units.
const (
	chartWidth  = 960.0
	chartHeight = 200.0
	chartBars   = 60
)

type reportRow struct {
	audit.Row
	Width float64 // of the bar, in percent
}

func reportPage(s *audit.Summary, now time.Time, q *auditFlags) ([]byte, error) {
	zone := q.zone()
	span, buckets := s.Buckets(chartBars, zone)
	most := 1
	for i := range buckets {
		most = max(most, buckets[i].Total())
	}
	layout := "2 Jan 15:04"
	if span >= 24*time.Hour {
		layout = "2 Jan 2006"
	}
	var bars []reportBar
	for i := range buckets {
		b := &buckets[i]
		w := min(chartWidth/float64(len(buckets)), 60)
		pushes := b.Pushes + b.Mounts
		bar := reportBar{X: float64(i)*w + w*0.1, W: w * 0.8, Pulls: b.Pulls, Pushes: pushes, Denied: b.Denied}
		scale := chartHeight / float64(most)
		bar.PullH, bar.PushH, bar.DeniedH = float64(b.Pulls)*scale, float64(pushes)*scale, float64(b.Denied)*scale
		bar.PullY = chartHeight - bar.PullH
		bar.PushY = bar.PullY - bar.PushH
		bar.DeniedY = bar.PushY - bar.DeniedH
		bar.Title = fmt.Sprintf("%s: %s pulls, %s pushes, %s refused", b.Start.In(zone).Format(layout), grouped(b.Pulls), grouped(pushes), grouped(b.Denied))
		if len(buckets) <= 8 || i%((len(buckets)+7)/8) == 0 {
			bar.Label = b.Start.In(zone).Format(layout)
		}
		bars = append(bars, bar)
	}
	rows := func(title string, list []audit.Row) map[string]any {
		var out []reportRow
		top := 1
		for _, r := range list {
			top = max(top, r.Total())
		}
		for _, r := range list {
			r.Name = visible(r.Name)
			out = append(out, reportRow{r, 100 * float64(r.Total()) / float64(top)})
		}
		return map[string]any{"Title": title, "Rows": out}
	}
	refusals := s.Refusals(51)
	more := len(refusals) > 50
	refusals = refusals[:min(len(refusals), 50)]
	for i := range refusals {
		v := &refusals[i]
		v.Account, v.Name, v.Reason, v.Comment, v.File = visible(v.Account), visible(v.Name), visible(v.Reason), visible(v.Comment), visible(v.File)
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"n":    grouped,
		"join": func(l []string) string { return visible(strings.Join(l, ", ")) },
		"time": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return t.In(zone).Format("2006-01-02 15:04 MST")
		},
	}).Parse(auditReportPage)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Made": now, "First": s.First, "Last": s.Last, "Total": s.Total, "Bars": bars, "Most": most, "Span": spanText(span),
		"Repositories": rows("Repositories", s.Repositories(15)), "Accounts": rows("Accounts", s.Accounts(15)), "Refusals": refusals, "MoreRefusals": more,
	})
	return []byte(b.String()), err
}

// grouped writes a number with thin spaces between groups of three digits.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func spanText(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d == time.Hour:
		return "hour"
	case d < 24*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d == 24*time.Hour:
		return "day"
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func newAuditServeCommand(a *app) *cobra.Command {
	var listen, secretFile, path, logLevel, keep, keepSize string
	var peers []string
	var check bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Record what the registry reports, beside another token server",
		Long: `Listen for the registry's notifications and write them to the audit log: for deployments whose
token server is docker_auth ("init --audit" sets it up). The bundled token server does this
itself (docs/audit.md).

A report must come from one of --peers and bring the secret of --secret-file in its header
Authorization: Bearer SECRET. The path is /events; /healthz tells whether lines can be written,
which is what --check asks. Ends with 0 on SIGTERM and Ctrl-C.

Writes the log's folder only.`,
		Example: `  regctl-setup audit serve --listen :5002 --secret-file conf/audit/events-secret --path audit
  regctl-setup audit serve --check`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			level, err := parseLevel(logLevel)
			if err != nil {
				return err
			}
			if check {
				return a.auditServeCheck(cmd.Context(), listen)
			}
			o := a.auditOptions(path, config.DefaultAudit())
			if o.Keep, err = config.ParseKeep(keep); err != nil {
				return usage(fmt.Errorf("--keep %w", err))
			}
			if o.KeepSize, err = config.ParseSize(keepSize); err != nil {
				return usage(fmt.Errorf("--keep-size %w", err))
			}
			s := &eventsSettings{address: listen}
			if s.peers, err = parsePeers(peers); err != nil {
				return usage(err)
			}
			if secretFile == "" {
				return usage(errors.New("audit serve needs --secret-file FILE"))
			}
			if s.secret, err = readEventsSecret(secretFile); err != nil {
				return fail(err)
			}
			return a.auditServe(cmd.Context(), s, o, level)
		}),
	}
	c.Flags().StringVar(&listen, "listen", ":5002", "`HOST:PORT` to listen on")
	c.Flags().StringVar(&secretFile, "secret-file", "", "`FILE` with the secret that the registry sends")
	c.Flags().StringSliceVar(&peers, "peers", []string{"private"}, "networks that may report, or private")
	c.Flags().StringVar(&path, "path", "audit", "the log's `FOLDER`")
	c.Flags().StringVar(&keep, "keep", "365d", "for how long lines are kept, as 30d; 0: for ever (`TIME`)")
	c.Flags().StringVar(&keepSize, "keep-size", "0", "how much is kept, as 10GiB; 0: any (`SIZE`)")
	c.Flags().BoolVar(&check, "check", false, "ask the listener that runs on --listen whether it is healthy, and end (for container health checks)")
	c.Flags().StringVar(&logLevel, "log-level", "info", "what is logged on stderr: debug, info, warn or error")
	return c
}

func parsePeers(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		if text == "private" {
			out = append(out, config.PrivateRanges()...)
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--peers %q: expected a network as 10.0.0.0/8, or private", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// auditServe records what the registry reports until ctx ends.
func (a *app) auditServe(ctx context.Context, s *eventsSettings, o audit.Options, level slog.Level) error {
	log, _, closeLog := a.serviceLog(level)
	defer closeLog()
	harden(log)
	dir := o.Dir
	if _, err := os.Stat(filepath.Dir(filepath.Clean(dir))); err != nil {
		return fail(fmt.Errorf("audit log: %w", err))
	}
	o.Sync = audit.SyncAlways // the registry repeats what was not taken, and may wait a little
	o.Failed = func(err error) {
		if err != nil {
			log.Error("events can't be recorded; the registry repeats them", "audit", dir, "error", err.Error())
			return
		}
		log.Info("events are recorded again", "audit", dir)
	}
	l := audit.NewLog(o)
	defer func() { _ = l.Close() }()
	handler := audit.NewEvents(audit.EventsOptions{
		Log: l, Path: "/events", Secret: s.secret, Peers: s.peers, Now: a.now,
		Refused: func(peer string, err error) { log.Warn("a report was not taken", "peer", peer, "error", err.Error()) },
	})
	handler.Recall(dir)
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := l.Err(); err != nil {
			http.Error(w, "lines can't be written", http.StatusServiceUnavailable) // the log says why
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	ln, err := serveEvents(s, "/events", mux, log)
	if err != nil {
		return fail(err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = ln.server.Shutdown(stop)
	log.Info("stopped")
	return nil
}

// auditServeCheck asks the listener on this machine whether it is healthy.
func (a *app) auditServeCheck(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addr := dialAddr(listen)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return usage(fmt.Errorf("--listen %q: expected HOST:PORT or :PORT", listen))
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return refuse(fmt.Errorf("nothing listens for the registry's events on %s: %w", addr, err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refuse(fmt.Errorf("the listener on %s can't write its lines (%s)", addr, resp.Status))
	}
	a.note("healthy")
	return nil
}
