package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
)

// Deadlines of status: it is asked often, and must not hang on what does not answer.
const (
	statusProbe = 1500 * time.Millisecond // of one question
	statusEvery = 2 * time.Second         // of --watch
	statusBack  = 30 * 24 * time.Hour     // how far back the last push and pull are looked for
)

func newStatusCommand(a *app) *cobra.Command {
	var usage, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what runs, with which users, rules and certificates",
		Long: `Show what runs of the deployment and how it is: services, images, users, entries, when the
token server last loaded its config, the days left of certificates and accounts, the last
push and the last pull (from the audit log), and with --usage what the images take.

Changes nothing on disk. Exit status 0 when everything runs and is healthy, 1 when not, 3
when that could not be told.`,
		Example: `  regctl-setup -C ./registry status
  regctl-setup status --usage --format json
  regctl-setup status --watch`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(cmd.Context(), usage)
			}
			s, err := a.status(cmd.Context(), usage)
			if err != nil {
				return err
			}
			return a.showStatus(s)
		}),
	}
	c.Flags().BoolVar(&usage, "usage", false, "measure what the images take on disk, which takes its time")
	c.Flags().BoolVar(&watch, "watch", false, "show it again every two seconds, until Ctrl-C")
	return c
}

// statusJSON is what status tells; fields that nobody could tell are absent.
type statusJSON struct {
	Healthy  *bool      `json:"healthy,omitempty"`
	Runtime  string     `json:"runtime"`
	Engine   string     `json:"engine"`
	Registry string     `json:"registry,omitempty"`
	Services []service  `json:"services"`
	Unknown  []string   `json:"unknown,omitempty"` // what could not be told, and why
	Users    int        `json:"users"`
	Disabled int        `json:"disabled"`
	Entries  int        `json:"entries"`
	Loaded   *time.Time `json:"loaded_at,omitempty"` // when the token server last took its config
	Trouble  string     `json:"trouble,omitempty"`   // why it did not take a newer one
	// Days left; negative when over.
	SigningDays *int       `json:"signing_certificate_days,omitempty"`
	TLSDays     *int       `json:"tls_certificate_days,omitempty"`
	NextExpiry  *userEnd   `json:"next_account_to_expire,omitempty"`
	LastPush    *lastEvent `json:"last_push,omitempty"`
	LastPull    *lastEvent `json:"last_pull,omitempty"`
	UsageBytes  *int64     `json:"usage_bytes,omitempty"`
	Rotation    string     `json:"key_rotation,omitempty"` // the stage of one that is going on

	signingEnds, tlsEnds time.Time // what the days are to
	advice               string    // what finds out more, where not all is well
}

type userEnd struct {
	Name string `json:"name"`
	Days int    `json:"days"`
}

type lastEvent struct {
	Time       time.Time `json:"time"`
	Account    string    `json:"account"`
	Repository string    `json:"repository"`
	Tag        string    `json:"tag,omitempty"`
}

func (a *app) status(ctx context.Context, usage bool) (*statusJSON, error) {
	file, d, err := a.loadForReading(ctx)
	if err != nil {
		return nil, err
	}
	s := &statusJSON{Services: []service{}, Users: len(file.Users), Entries: len(file.ACL), Runtime: answers.RuntimeCompose}
	if s.Engine, err = a.engineOf(d); err != nil {
		return nil, err
	}
	ans, recorded, err := d.Answered()
	if err != nil {
		return nil, answersError(err)
	}
	if recorded {
		s.Runtime = ans.Runtime
		s.Registry = ans.Resolve().Host()
		if ans.Runtime == answers.RuntimeEmbedded {
			s.Registry = ans.Listen
		}
	}
	s.advice = fmt.Sprintf("regctl-setup %sdoctor   says what is wrong and what mends it", a.dirArg())
	now := a.now()
	for _, u := range file.Users {
		if u.Disabled {
			s.Disabled++
			continue
		}
		if days := daysLeft(u.Expires, now); !u.Expires.IsZero() && (s.NextExpiry == nil || days < s.NextExpiry.Days) {
			s.NextExpiry = &userEnd{u.Name, days}
		}
	}
	if certPath, _ := file.SigningPair(); certPath != "" {
		if certs, err := keys.LoadCertificates(d.Resolve(certPath)); err == nil {
			days := daysLeft(certs[0].NotAfter, now)
			s.SigningDays, s.signingEnds = &days, certs[0].NotAfter
		} else {
			s.unknown("signing certificate", err)
		}
	}
	if s.Runtime == answers.RuntimeEmbedded {
		a.embeddedStatus(ctx, d, s)
	} else {
		a.composeStatus(ctx, d, ans, recorded, s)
	}
	a.lastEvents(ctx, d, s)
	if usage {
		bytes, err := usageOf(ctx, d.Path(deployment.DataDir))
		switch {
		case errors.Is(err, fs.ErrNotExist) || recorded && ans.Storage != answers.StorageFilesystem:
			s.unknown("usage", errors.New("the images are not on this disk"))
		case err != nil:
			s.unknown("usage", err)
		default:
			s.UsageBytes = &bytes
		}
	}
	if t, err := a.rotator(ctx, rotateOptions{}); err == nil {
		s.Rotation = string(t.r.Record().Stage)
	}
	return s, ctx.Err()
}

func (s *statusJSON) unknown(what string, err error) {
	s.Unknown = append(s.Unknown, what+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
}

func daysLeft(end, now time.Time) int { return int(end.Sub(now).Hours() / 24) }

// embeddedStatus asks the process that holds the image store.
func (a *app) embeddedStatus(ctx context.Context, d *deployment.Deployment, s *statusJSON) {
	running := storeHolder(ctx, d) != ""
	s.Healthy = &running
	one := service{Name: "up", State: "absent"}
	if running {
		one.State = "running"
		if err := askHealth(ctx, &http.Client{}, "http://"+s.Registry+"/healthz?verbose", s); err != nil {
			s.unknown("token server", err)
		}
	}
	s.Services = []service{one}
}

func (a *app) composeStatus(ctx context.Context, d *deployment.Deployment, ans answers.Answers, recorded bool, s *statusJSON) {
	if d.Compose == "" {
		s.unknown("services", errors.New("the folder has no compose file"))
		return
	}
	if err := engineError(ctx); err != nil {
		s.unknown("services", err)
		return
	}
	list, err := composeServices(ctx, d)
	if err != nil {
		s.unknown("services", err)
		return
	}
	healthy := true
	for _, one := range list {
		healthy = healthy && one.ok()
	}
	s.Services, s.Healthy = list, &healthy
	if s.Engine == answers.EngineBundled {
		probe, cancel := context.WithTimeout(ctx, statusProbe)
		out, err := compose(probe, d, "exec", "-T", "auth", "/regctl-setup", "serve", "--check", "--format", "json", "conf/auth/auth-server.yml").Output()
		cancel()
		if err == nil {
			err = s.health(out)
		}
		if err != nil {
			s.unknown("token server", fmt.Errorf("its state can't be read: %w", err))
		}
	}
	proxyRuns := slices.ContainsFunc(list, func(one service) bool { return one.Name == "caddy" && one.State == "running" })
	if !recorded || ans.TLS == answers.TLSOff || !proxyRuns {
		return
	}
	r := ans.Resolve()
	ends, err := tlsEnd(ctx, net.JoinHostPort(localAddress(r.Bind), strconv.Itoa(r.HTTPSPort)), r.Domain)
	if err != nil {
		s.unknown("TLS certificate", err)
		return
	}
	days := daysLeft(ends, a.now())
	s.TLSDays, s.tlsEnds = &days, ends
}

// localAddress is where a port that is published at bind is reached from this machine.
func localAddress(bind string) string {
	if ip := net.ParseIP(bind); bind == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return bind
}

// tlsEnd looks at the certificate that is served. It is shown, not trusted: who trusts
// what is doctor's question.
func tlsEnd(ctx context.Context, addr, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, statusProbe)
	defer cancel()
	conf := selfCheckTLS()
	conf.ServerName = name
	conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = conn.Close() }()
	certs := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return time.Time{}, fmt.Errorf("%s serves no certificate", addr)
	}
	return certs[0].NotAfter, nil
}

// askHealth reads the token server's state from its own endpoint.
func askHealth(ctx context.Context, c *http.Client, url string, s *statusJSON) error {
	ctx, cancel := context.WithTimeout(ctx, statusProbe)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	var raw json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return s.health(raw)
}

// health takes over what /healthz?verbose tells.
func (s *statusJSON) health(data []byte) error {
	var h struct {
		Config *struct {
			LoadedAt  time.Time `json:"loaded_at"`
			LastError string    `json:"last_error"`
			Waiting   string    `json:"waiting"`
		} `json:"config"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return err
	}
	if h.Config == nil {
		return errors.New("it tells nothing of its config")
	}
	s.Loaded = &h.Config.LoadedAt
	s.Trouble = h.Config.LastError
	if s.Trouble == "" {
		s.Trouble = h.Config.Waiting
	}
	if h.Config.LastError != "" {
		sick := false
		s.Healthy = &sick
	}
	return nil
}

// lastEvents finds the last push and pull in the audit log, where there is one.
func (a *app) lastEvents(ctx context.Context, d *deployment.Deployment, s *statusJSON) {
	dir := d.Path("audit")
	if names, err := os.ReadDir(dir); err != nil || len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusProbe)
	defer cancel()
	filter := &audit.Filter{Kinds: []audit.Kind{audit.KindEvent}, Actions: []string{"push", "pull"}, Since: a.now().Add(-statusBack)}
	_, err := audit.Scan(ctx, dir, filter, func(r *audit.Record) error {
		e := r.Event
		if e == nil {
			return nil
		}
		if e.Repository == doctor.ProbeRepository {
			return nil // doctor's own
		}
		last := &lastEvent{Time: r.Time, Account: r.Account, Repository: e.Repository, Tag: e.Tag}
		if e.Action == "push" {
			s.LastPush = last
		} else {
			s.LastPull = last
		}
		return nil
	})
	if err != nil {
		s.LastPush, s.LastPull = nil, nil
		s.unknown("last push and pull", err)
	}
}

// usageOf adds up what the files below dir take, in bytes.
func usageOf(ctx context.Context, dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // an upload that has just ended
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// showStatus prints it, and turns health into the exit status.
func (a *app) showStatus(s *statusJSON) error {
	if a.json() {
		if err := a.printJSON(s); err != nil {
			return err
		}
	} else {
		a.out("%s", strings.TrimSuffix(s.text(a.now()), "\n"))
	}
	switch {
	case s.Healthy == nil:
		return &statusError{status: exitFailure}
	case !*s.Healthy:
		return no()
	}
	return nil
}

// text is status for a person.
func (s *statusJSON) text(now time.Time) string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(tw, "%s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	state := "could not be told"
	if s.Healthy != nil {
		state = map[bool]string{true: "up and healthy", false: "NOT healthy"}[*s.Healthy]
	}
	row("deployment", "%s, runtime %s, engine %s", state, s.Runtime, s.Engine)
	if s.Registry != "" {
		row("registry", "%s", s.Registry)
	}
	for _, one := range s.Services {
		words := one.Status
		if words == "" {
			words = one.State
		}
		if one.State == "absent" {
			words = "not running"
		}
		row("  "+one.Name, "%s", strings.TrimSpace(words+"  "+one.Image))
	}
	users := fmt.Sprintf("%d", s.Users)
	if s.Disabled > 0 {
		users += fmt.Sprintf(" (%d disabled)", s.Disabled)
	}
	if e := s.NextExpiry; e != nil {
		users += fmt.Sprintf("; next to expire: %s, %s", e.Name, inDays(e.Days))
	}
	row("users", "%s", users)
	row("entries", "%d", s.Entries)
	if s.Loaded != nil {
		row("config loaded", "%s", ago(*s.Loaded, now))
	}
	if s.Trouble != "" {
		row("  NOT taken", "%s", s.Trouble)
	}
	if s.SigningDays != nil {
		row("signing certificate", "%s", ends(s.signingEnds, now))
	}
	if s.Rotation != "" {
		row("  key rotation", "%s; \"keys rotate\" goes on", s.Rotation)
	}
	if s.TLSDays != nil {
		row("TLS certificate", "%s", ends(s.tlsEnds, now))
	}
	for _, e := range []struct {
		what string
		last *lastEvent
	}{{"last push", s.LastPush}, {"last pull", s.LastPull}} {
		if e.last == nil {
			continue
		}
		name, who := e.last.Repository, e.last.Account
		if e.last.Tag != "" {
			name += ":" + e.last.Tag
		}
		if who == "" {
			who = "anonymous"
		}
		row(e.what, "%s by %s, %s", name, who, ago(e.last.Time, now))
	}
	if s.UsageBytes != nil {
		row("images take", "%s", bytesText(*s.UsageBytes))
	}
	for _, u := range s.Unknown {
		row("not told", "%s", u)
	}
	if s.Healthy == nil || !*s.Healthy {
		row("next", "%s", s.advice)
	}
	_ = tw.Flush()
	return b.String()
}

// ends tells when a certificate ends; the last days in hours, because Caddy's own authority makes
// certificates of twelve.
func ends(t, now time.Time) string {
	switch left := t.Sub(now); {
	case left < 0 && left > -48*time.Hour:
		return fmt.Sprintf("ENDED %d hours ago", int(-left/time.Hour))
	case left < 0:
		return fmt.Sprintf("ENDED %d days ago", -daysLeft(t, now))
	case left < 48*time.Hour:
		return fmt.Sprintf("ends in %d hours", int(left/time.Hour))
	}
	return "ends " + inDays(daysLeft(t, now))
}

func inDays(n int) string {
	switch {
	case n < 0:
		return fmt.Sprintf("%d days AGO", -n)
	case n == 1:
		return "in 1 day"
	}
	return fmt.Sprintf("in %d days", n)
}

func ago(t, now time.Time) string {
	d := now.Sub(t).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return t.Local().Format(time.DateTime)
}

// bytesText is a size with a binary unit, to one digit after the point.
func bytesText(n int64) string {
	const unit = 1024
	f, i := float64(n), 0
	for f >= unit && i < 4 {
		f, i = f/unit, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[i])
}

// watchStatus shows it again and again. On a terminal it draws over itself.
func (a *app) watchStatus(ctx context.Context, usage bool) error {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		s, err := a.status(ctx, usage)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case a.json():
			if err := a.printJSON(s); err != nil {
				return err
			}
		case a.io.OutIsTerminal():
			a.out("\x1b[H\x1b[J%s  %s", s.text(a.now()), a.now().Local().Format(time.TimeOnly)+"   Ctrl-C ends")
		default:
			a.out("%s", s.text(a.now()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
