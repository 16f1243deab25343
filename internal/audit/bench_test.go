package audit

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// benchLog is a log as a busy registry has it: of ten lines seven are tokens, two pulls and
// one a push.
func benchLog(b testing.TB, lines int, o Options) string {
	b.Helper()
	o.Dir, o.Sync = filepath.Join(b.TempDir(), "audit"), SyncNever
	now := at
	o.Now = func() time.Time { return now }
	o.RotateAge = -1
	l := NewLog(o)
	batch := make([]*Record, 0, 100)
	for i := range lines {
		repo := fmt.Sprintf("dev-team%d/service%02d", i%7, i%40)
		r := &Record{
			Kind: KindToken, Time: now, RequestID: fmt.Sprintf("%016x", i), Authenticated: true, Account: fmt.Sprintf("user%04d", i%997),
			Address: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Method: "GET", Status: 200, Service: "registry.example.com",
			UserAgent: "docker/28.0.1 go/go1.26 kernel/6.8 os/linux arch/amd64 UpstreamClient(Docker-Client/28.0.1 (linux))", ClientID: "docker",
			Result: "granted", TokenID: fmt.Sprintf("%032x", i), Lifetime: 5 * time.Minute, Duration: 300 * time.Microsecond,
			Scopes: []Scope{{Type: "repository", Name: repo, Asked: []string{"pull"}, Granted: []string{"pull"}, Entry: 3, File: "conf/auth/auth-server.yml", Line: 71, Comment: "Every account pulls everything."}},
		}
		switch {
		case i%100 == 99:
			r.Result, r.Scopes[0].Granted = "denied", nil
		case i%10 > 6:
			r.Kind, r.Scopes, r.Result = KindEvent, nil, ""
			r.Event = &Event{ID: fmt.Sprintf("%032x", i), Action: "pull", Repository: repo, Tag: "1.4", Digest: "sha256:" + strings.Repeat("ab", 32), MediaType: "application/vnd.oci.image.manifest.v1+json", Join: JoinProbable}
			if i%10 == 9 {
				r.Event.Action = "push"
			}
		}
		if batch = append(batch, r); len(batch) == cap(batch) {
			if err := l.Append(b.Context(), batch...); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
		now = now.Add(time.Millisecond)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return l.Dir()
}

func BenchmarkScan(b *testing.B) {
	const lines = 200_000
	plain := benchLog(b, lines, Options{Plain: true})
	packed := benchLog(b, lines, Options{RotateSize: 16 << 20})
	repo := func(n string) bool { return strings.HasPrefix(n, "dev-team3/") }
	for _, q := range []struct {
		name   string
		dir    string
		filter *Filter
	}{
		{"account", plain, &Filter{Account: "user0042", HasAccount: true}},
		{"denied", plain, &Filter{Denied: true}},
		{"pushes", plain, &Filter{Kinds: []Kind{KindEvent}, Actions: []string{"push"}, Repository: repo, RepositoryText: "dev-team3/"}},
		{"everything", plain, nil},
		{"account/gzip", packed, &Filter{Account: "user0042", HasAccount: true}},
		{"everything/gzip", packed, nil},
	} {
		b.Run(q.name, func(b *testing.B) {
			matched := 0
			for b.Loop() {
				stats, err := Scan(b.Context(), q.dir, q.filter, func(*Record) error { return nil })
				if err != nil || stats.Lines < lines {
					b.Fatal(stats, err)
				}
				matched = stats.Matched
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(matched), "matched")
		})
	}
}

// BenchmarkTop counts all records, as audit top and audit report do: they have the most to read.
func BenchmarkTop(b *testing.B) {
	const lines = 200_000
	dir := benchLog(b, lines, Options{Plain: true})
	for b.Loop() {
		s := NewSummary()
		_, err := Scan(b.Context(), dir, nil, func(r *Record) error {
			s.Add(r)
			return nil
		})
		if err != nil || s.Total.Pulls+s.Total.Pushes == 0 || len(s.Repositories(20)) != 20 {
			b.Fatal(s.Total, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkVerify(b *testing.B) {
	const lines = 200_000
	dir := benchLog(b, lines, Options{Plain: true})
	for b.Loop() {
		rep, err := Verify(b.Context(), dir, VerifyOptions{})
		if err != nil || !rep.Intact() {
			b.Fatal(rep, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []SyncPolicy{SyncNever, SyncInterval} {
		b.Run(string(sync), func(b *testing.B) {
			l := NewLog(Options{Dir: filepath.Join(b.TempDir(), "audit"), Sync: sync})
			defer func() { _ = l.Close() }()
			r := fullRecords()["token"]
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Append(b.Context(), r); err != nil {
						b.Error(err)
						return
					}
				}
			})
			if st, err := os.Stat(filepath.Join(l.Dir(), activeName)); err == nil {
				b.ReportMetric(float64(st.Size())/float64(b.N), "file-bytes/line")
			}
		})
	}
}

// TestScanIsLinear reads four times as many lines, and expects about four times the work and no
// more memory at once: a log of a year is read as one of a day is.
func TestScanIsLinear(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps memory of its own for each allocation, and sync.Pool drops what is put into it at random")
	}
	const lines = 40_000
	type cost struct {
		took, total float64
		peak        uint64
	}
	measure := func(dir string, want int) cost {
		scan := func(each func(int)) {
			seen := 0
			_, err := Scan(t.Context(), dir, nil, func(*Record) error {
				seen++
				each(seen)
				return nil
			})
			if err != nil || seen < want {
				t.Fatalf("%d records of %d: %v", seen, want, err)
			}
		}
		best := cost{took: math.Inf(1)}
		var before, now runtime.MemStats
		for range 5 {
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			scan(func(int) {})
			took := time.Since(began).Seconds()
			runtime.ReadMemStats(&now)
			best.took, best.total = min(best.took, took), float64(now.TotalAlloc-before.TotalAlloc)
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		scan(func(seen int) {
			if seen%(want/8) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				best.peak = max(best.peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
			}
		})
		return best
	}
	small, large := measure(benchLog(t, lines, Options{Plain: true}), lines), measure(benchLog(t, 4*lines, Options{Plain: true}), 4*lines)
	t.Logf("%d lines: %+v; %d lines: %+v", lines, small, 4*lines, large)
	if r := large.total / small.total; r > 5 {
		t.Errorf("four times the lines allocate %.1f times as much", r)
	}
	if r := large.took / small.took; r > 10 { // a quadratic one takes 16 times
		t.Errorf("four times the lines take %.1f times as long", r)
	}
	if large.peak > small.peak+8<<20 {
		t.Errorf("four times the lines hold %d bytes at once, before %d", large.peak, small.peak)
	}
}
