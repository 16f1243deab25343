// Command bench puts load on a token server and says what it takes.
//
//	go run ./bench                          all measurements, server in this process
//	go run ./bench -for 10s -key rsa-4096   longer, another key
//	go run ./bench -audit                   with the audit log on
//	go run ./bench -svg bench.svg           with a plot
//	go run ./bench -url http://127.0.0.1:5001/auth?service=r -user alice -password-file pw
//	                                        a server that runs
//
// Without -url four closed-loop rates are measured one after the other, each over HTTP with
// the same clients, so that their ratios say what the server costs however fast the machine
// is: a handler that does nothing, a handler that only signs, tokens that were never seen
// before, and tokens that were. Then an open loop asks for the repeated tokens of 1,000
// accounts at a given rate, whether or not the answers come, and measures from the time at
// which a request was due: a server that falls behind can't hide it.
//
// The process that measures takes its share of the processors, too. Rates of a busy machine
// say little; the load average is printed with them, and the processor time of a request,
// which suffers less. To tell the server's share from the clients', measure one that runs:
//
//	go run ./bench -url http://127.0.0.1:5001/auth?service=r -user u# -accounts 1000 \
//	    -password-file pw -pid 4711 -count 1000000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the command line's.
type settings struct {
	length   time.Duration
	clients  int
	rate     int
	accounts int
	entries  int
	count    int
	pid      int
	key      string
	audit    bool
	svg      string
	url      string
	user     string
	password string // the file with it
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.DurationVar(&s.length, "for", 3*time.Second, "how long each measurement takes")
	f.IntVar(&s.clients, "clients", 4*runtime.GOMAXPROCS(0), "connections of the closed loops")
	f.IntVar(&s.rate, "rate", 15_000, "requests a second of the open loop")
	f.IntVar(&s.accounts, "accounts", 1000, "accounts that ask in the open loop")
	f.IntVar(&s.entries, "entries", 10, "entries in the rules")
	f.StringVar(&s.key, "key", "rsa-2048", "signing key: rsa-2048, rsa-3072, rsa-4096 or ecdsa-p256")
	f.BoolVar(&s.audit, "audit", false, "record every decision in an audit log, in the folder for temporary files")
	f.StringVar(&s.svg, "svg", "", "write a plot to this `FILE`")
	f.StringVar(&s.url, "url", "", "measure the server that runs there instead")
	f.StringVar(&s.user, "user", "", "account for -url; # in it stands for a number below -accounts")
	f.IntVar(&s.pid, "pid", 0, "process of the server at -url, to tell its processor time and memory (Linux)")
	f.IntVar(&s.count, "count", 0, "requests of each closed loop, in the place of -for")
	f.StringVar(&s.password, "password-file", "", "`FILE` with the password for -url")
	if err := f.Parse(args); err != nil {
		return err
	}
	if s.length <= 0 || s.clients < 1 || s.rate < 1 || s.count < 0 || s.accounts < 1 || s.entries < 0 {
		return errors.New("-for, -clients, -rate and -accounts must be positive, -entries and -count not negative")
	}
	results, err := s.measure(ctx)
	if err != nil {
		return err
	}
	printTable(out, s, results)
	if s.svg == "" {
		return nil
	}
	return os.WriteFile(s.svg, plot(results), 0o644)
}

// measure runs everything that the settings ask for.
func (s settings) measure(ctx context.Context) ([]result, error) {
	if s.url != "" {
		return s.measureURL(ctx)
	}
	kind, err := keys.ParseType(s.key)
	if err != nil {
		return nil, err
	}
	subject, err := newSubject(kind, s.accounts, s.entries, s.audit)
	if err != nil {
		return nil, err
	}
	defer subject.close()
	var all []result
	for _, c := range []struct {
		name string
		h    http.Handler
		next func(int) request
		warm int // requests before, so that every account's password and token are known
	}{
		{"empty handler", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }), subject.fresh, 0},
		{"signing alone", subject.signer(), subject.fresh, 0},
		{"never-seen tokens", subject.server, subject.fresh, 0},
		{"repeated tokens", subject.server, subject.repeated, s.accounts},
	} {
		r, err := withServer(ctx, c.h, func(addr string) (result, error) {
			for i := range c.warm {
				if err := once(ctx, addr, c.next(i)); err != nil {
					return result{}, err
				}
			}
			return s.watched(func() (result, error) { return closedLoop(ctx, addr, s.clients, s.length, s.count, c.next) })
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		r.name = c.name
		all = append(all, r)
	}
	r, err := withServer(ctx, subject.server, func(addr string) (result, error) {
		return s.watched(func() (result, error) { return openLoop(ctx, addr, s.rate, s.length, subject.repeated) })
	})
	if err != nil {
		return nil, fmt.Errorf("open loop: %w", err)
	}
	r.name = fmt.Sprintf("open loop at %d/s", s.rate)
	if subject.audit != nil && subject.audit.Err() != nil { // the best-effort log would have flattered the rates
		return nil, fmt.Errorf("audit log: %w", subject.audit.Err())
	}
	return append(all, r), nil
}

// measureURL measures a server that runs: one request, again and again.
func (s settings) measureURL(ctx context.Context) ([]result, error) {
	var password string
	if s.password != "" {
		data, err := os.ReadFile(s.password)
		if err != nil {
			return nil, err
		}
		password = strings.TrimRight(string(data), "\r\n")
	}
	accounts := 1
	if strings.Contains(s.user, "#") {
		accounts = s.accounts
	}
	var addr string
	requests := make([]request, accounts)
	for n := range requests {
		var err error
		if addr, requests[n], err = requestFor(s.url, strings.ReplaceAll(s.user, "#", strconv.Itoa(n)), password); err != nil {
			return nil, err
		}
		if err := once(ctx, addr, requests[n]); err != nil { // the passwords are known from here on
			return nil, err
		}
	}
	next := func(n int) request { return requests[n%accounts] }
	closed, err := s.watched(func() (result, error) { return closedLoop(ctx, addr, s.clients, s.length, s.count, next) })
	if err != nil {
		return nil, err
	}
	closed.name = "closed loop"
	open, err := s.watched(func() (result, error) { return openLoop(ctx, addr, s.rate, s.length, next) })
	if err != nil {
		return nil, err
	}
	open.name = fmt.Sprintf("open loop at %d/s", s.rate)
	return []result{closed, open}, nil
}

// watched measures with f, and the processor time that it takes.
func (s settings) watched(f func() (result, error)) (result, error) {
	cpu := func() (time.Duration, error) { return ownCPU(), nil }
	if s.pid != 0 {
		cpu = func() (time.Duration, error) { return cpuOf(s.pid) }
	}
	before, err := cpu()
	if err != nil {
		return result{}, err
	}
	r, err := f()
	if err != nil {
		return r, err
	}
	after, err := cpu()
	r.cpu, r.resident = after-before, residentOf(s.pid)
	return r, err
}

// printTable prints the results, each rate also as a part of the first and second.
func printTable(out io.Writer, s settings, results []result) {
	fmt.Fprintf(out, "%d processors, load average %s, key %s, %d entries, %v each\n\n", runtime.GOMAXPROCS(0), loadAverage(), s.key, s.entries, s.length)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "\trate/s\terrors\tp50\tp99\tmax\tCPU each\tresident\t"
	if s.url == "" {
		head += "of empty\tof signing\tby CPU: of empty\tof signing\t"
	}
	fmt.Fprintln(w, head)
	for i, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%d\t%v\t%v\t%v\t%v\t%s\t", r.name, r.rate(), r.errors, r.quantile(0.5), r.quantile(0.99), r.quantile(1), r.work().Round(100*time.Nanosecond), r.resident)
		if s.url == "" && i < len(results)-1 {
			fmt.Fprintf(w, "%.2f\t%.2f\t", r.rate()/results[0].rate(), r.rate()/results[1].rate())
			// As many as the processors could take of each if nobody else used them.
			fmt.Fprintf(w, "%.2f\t%.2f\t", ratio(results[0].work(), r.work()), ratio(results[1].work(), r.work()))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	if s.pid == 0 {
		fmt.Fprintln(out, "\nProcessor time and memory are this process's, clients included.")
	}
}

// ratio is a/b, 0 where the system tells no processor time.
func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// loadAverage is the system's, where it tells.
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}

// residentOf is the VmRSS of a process, 0 being this one, where the system tells.
func residentOf(pid int) string {
	name := "self"
	if pid != 0 {
		name = strconv.Itoa(pid)
	}
	data, err := os.ReadFile("/proc/" + name + "/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
