package authserver

import (
	"slices"
	"testing"
	"time"
)

func TestTimings(t *testing.T) {
	t.Parallel()
	var all timings
	bounds := LatencyBounds()
	if !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) != len(bounds) {
		t.Fatalf("the bounds %v do not ascend", bounds)
	}
	// Exactly a bound belongs to its bucket, a bit more to the next; a clock that was set back
	// counts as no time.
	all.note(ResultGranted, bounds[3])
	all.note(ResultGranted, bounds[3]+1)
	all.note(ResultGranted, -time.Second)
	all.note(ResultDenied, time.Hour)
	all.note("nonsense", time.Second)
	var total uint64
	for _, d := range all.stats() {
		total += d.Count
		switch d.Result {
		case ResultGranted:
			if d.Count != 3 || d.Buckets[0] != 1 || d.Buckets[2] != 1 || d.Buckets[3] != 2 || d.Buckets[4] != 3 || d.Sum != 2*bounds[3]+1 {
				t.Errorf("granted: %+v", d)
			}
		case ResultDenied:
			if d.Count != 1 || d.Buckets[len(bounds)-1] != 0 || d.Sum != time.Hour {
				t.Errorf("denied: %+v", d)
			}
		}
	}
	if total != 4 {
		t.Errorf("%d requests counted, want 4", total)
	}
}

func BenchmarkTimings(b *testing.B) {
	var all timings
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			all.note(ResultGranted, 3*time.Millisecond)
		}
	})
}
