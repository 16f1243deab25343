package authn

import (
	"slices"
	"time"
)

// table keeps records by key, the least recently used going first when it is full.
type table struct {
	m    map[uint64]*record
	root record // of the ring: root.next is the newest, root.prev the oldest
}

// record is what is known about one key. Keys are keyed hashes of names and addresses:
// a collision, which no outsider can bring about, makes two share their failures.
type record struct {
	key        uint64
	failed     []uint32 // ticks, ascending
	running    int
	prev, next *record
}

func (t *table) init() {
	t.m = map[uint64]*record{}
	t.root.prev, t.root.next = &t.root, &t.root
}

// touch returns the record of key, making it when there is none, as the newest.
func (t *table) touch(key uint64, most int) *record {
	r := t.m[key]
	if r != nil {
		r.prev.next, r.next.prev = r.next, r.prev
	} else {
		if len(t.m) >= most {
			t.evict()
		}
		r = &record{key: key}
		t.m[key] = r
	}
	r.prev, r.next = &t.root, t.root.next
	r.prev.next, r.next.prev = r, r
	return r
}

// evict removes the oldest record that no running check holds.
func (t *table) evict() {
	for r := t.root.prev; r != &t.root; r = r.prev {
		if r.running == 0 {
			t.drop(r)
			return
		}
	}
}

func (t *table) drop(r *record) {
	r.prev.next, r.next.prev = r.next, r.prev
	delete(t.m, r.key)
}

// dropIfEmpty removes a record without failures and checks, unless that is done.
func (t *table) dropIfEmpty(r *record) {
	if r.running == 0 && len(r.failed) == 0 && t.m[r.key] == r {
		t.drop(r)
	}
}

// fail notes a failure; no more than the last most are kept.
func (r *record) fail(tick uint32, most int) {
	if n := len(r.failed) - most + 1; n > 0 {
		r.failed = slices.Delete(r.failed, 0, n)
	}
	r.failed = append(r.failed, tick)
}

// expire forgets failures at or before the time.
func (r *record) expire(upTo, tickLength time.Duration) {
	n := 0
	for n < len(r.failed) && time.Duration(r.failed[n])*tickLength <= upTo {
		n++
	}
	if n == len(r.failed) {
		r.failed = nil
	} else if n > 0 {
		r.failed = slices.Delete(r.failed, 0, n)
	}
}
