package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// The bounds of one report.
const (
	maxEnvelope = 4 << 20
	maxEvents   = 1000
	maxSeen     = 1 << 16
)

// Appender takes records; [*Log] is one.
type Appender interface {
	Append(ctx context.Context, records ...*Record) error
}

// EventsOptions say who may report and where it goes.
type EventsOptions struct {
	// Log receives the records. Required.
	Log Appender
	// Path is where reports are taken, such as "/events".
	Path string
	// Secret must come in the header Authorization: Bearer SECRET. Required: without one
	// nothing is taken.
	Secret secret.Text
	// Peers are the networks that may report; nil: loopback only.
	Peers []netip.Prefix
	// Joiner finds the decision behind each event; nil: none is looked for.
	Joiner *Joiner
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Refused is called with why a report was not taken; nil: nobody is told.
	Refused func(peer string, err error)
}

// Events is the handler of the registry's notifications (distribution's envelope,
// application/vnd.docker.distribution.events.v2+json; the same from 2.8 and 3). Each event is a
// line once, however often the registry repeats it; pushes and pulls of layers are left out. Where the line can't be written the
// answer is 503, and the registry tries again.
type Events struct {
	o    EventsOptions
	want [sha256.Size]byte

	mu   sync.Mutex
	seen map[string]bool
	ring []string
	next int
}

// NewEvents returns a handler.
func NewEvents(o EventsOptions) *Events {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refused == nil {
		o.Refused = func(string, error) {}
	}
	if o.Peers == nil {
		o.Peers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return &Events{o: o, want: sha256.Sum256([]byte("Bearer " + o.Secret.Reveal())), seen: map[string]bool{}}
}

// Recall reads the end of the log in dir, so that what the registry repeats after a restart
// is known, and so are the decisions behind it. A log that can't be read is none.
func (e *Events) Recall(dir string) {
	tail(dir, 4<<20, func(r *Record) {
		if r.Event != nil {
			e.mu.Lock()
			e.note(r.Event.ID)
			e.mu.Unlock()
		} else if e.o.Joiner != nil {
			e.o.Joiner.Add(r)
		}
	})
}

// tail reads the records of the last n bytes of the file that is written.
func tail(dir string, n int64, f func(*Record)) {
	file, err := os.Open(filepath.Join(dir, activeName))
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > n {
		if _, err := file.Seek(-n, io.SeekEnd); err != nil {
			return
		}
	}
	br := bufio.NewReaderSize(file, 1<<16)
	for {
		text, err := br.ReadBytes('\n')
		if err != nil {
			return
		}
		if r, err := Parse(bytes.TrimSuffix(text, []byte{'\n'})); err == nil {
			f(r)
		}
	}
}

// note remembers an event's id. The caller holds mu.
func (e *Events) note(id string) {
	if id == "" || e.seen[id] {
		return
	}
	if len(e.ring) < maxSeen {
		e.ring = append(e.ring, id)
	} else {
		delete(e.seen, e.ring[e.next])
		e.ring[e.next] = id
		e.next = (e.next + 1) % maxSeen
	}
	e.seen[id] = true
}

// ServeHTTP takes a report.
func (e *Events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	status, err := e.take(w, r)
	if err != nil {
		e.o.Refused(r.RemoteAddr, err)
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "POST")
	}
	w.WriteHeader(status)
}

func (e *Events) take(w http.ResponseWriter, r *http.Request) (int, error) {
	if r.URL.Path != e.o.Path {
		return http.StatusNotFound, fmt.Errorf("no such path %q", r.URL.Path)
	}
	if !e.allowed(r.RemoteAddr) {
		return http.StatusForbidden, errors.New("the peer is not one of those that may report")
	}
	got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	if e.o.Secret.IsZero() || subtle.ConstantTimeCompare(got[:], e.want[:]) != 1 {
		return http.StatusUnauthorized, errors.New("the secret is missing or wrong")
	}
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, fmt.Errorf("method %q", r.Method)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEnvelope))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return http.StatusRequestEntityTooLarge, err
		}
		return http.StatusBadRequest, err
	}
	records, err := ParseEvents(body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if err := e.record(r.Context(), records); err != nil {
		return http.StatusServiceUnavailable, err
	}
	return http.StatusOK, nil
}

func (e *Events) allowed(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(e.o.Peers, func(p netip.Prefix) bool { return p.Contains(ap.Addr().Unmap()) })
}

// record appends what is new. Reports are taken one after the other, so that a repetition
// that comes while the first is being written waits for it.
func (e *Events) record(ctx context.Context, records []*Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.o.Now().UTC()
	var fresh []*Record
	inThis := map[string]bool{}
	for _, r := range records {
		if layerTransfer(r.Event) {
			continue
		}
		id := r.Event.ID
		if id != "" && (e.seen[id] || inThis[id]) {
			continue
		}
		inThis[id] = true
		if now.Sub(r.Time) >= time.Second && !r.Time.IsZero() {
			r.Event.Received = now
		}
		if e.o.Joiner != nil {
			e.o.Joiner.Join(r)
		}
		fresh = append(fresh, r)
	}
	if len(fresh) == 0 {
		return nil
	}
	// The line shall be written although the registry may hang up.
	if err := e.o.Log.Append(context.WithoutCancel(ctx), fresh...); err != nil {
		return err
	}
	for _, r := range fresh {
		e.note(r.Event.ID)
	}
	return nil
}

// layerTransfer reports whether a layer or an image's configuration was sent or fetched: the
// manifest tells the same in fewer lines. That one was mounted from another repository is
// told by nothing else. The registry's media type of everything but manifests is
// application/octet-stream.
func layerTransfer(e *Event) bool {
	return e.MediaType == "application/octet-stream" && (e.Action == "pull" || e.Action == "push")
}

// envelope is the part of distribution's notification that is recorded.
type envelope struct {
	Events []struct {
		ID        string    `json:"id"`
		Timestamp time.Time `json:"timestamp"`
		Action    string    `json:"action"`
		Target    struct {
			MediaType      string `json:"mediaType"`
			Digest         string `json:"digest"`
			Size           int64  `json:"size"`
			Repository     string `json:"repository"`
			FromRepository string `json:"fromRepository"`
			Tag            string `json:"tag"`
		} `json:"target"`
		Request struct {
			ID        string `json:"id"`
			Addr      string `json:"addr"`
			Host      string `json:"host"`
			Method    string `json:"method"`
			UserAgent string `json:"useragent"`
		} `json:"request"`
		Actor struct {
			Name string `json:"name"`
		} `json:"actor"`
		Source struct {
			Addr       string `json:"addr"`
			InstanceID string `json:"instanceID"`
		} `json:"source"`
	} `json:"events"`
}

// ParseEvents reads a notification. At most 1000 events are taken in one.
func ParseEvents(data []byte) ([]*Record, error) {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, fmt.Errorf("not a notification: %w", err)
	}
	if len(env.Events) == 0 {
		return nil, errors.New("not a notification: it has no events")
	}
	if len(env.Events) > maxEvents {
		return nil, fmt.Errorf("%d events in one notification, at most %d are taken", len(env.Events), maxEvents)
	}
	out := make([]*Record, 0, len(env.Events))
	for i := range env.Events {
		v := &env.Events[i]
		if v.Action == "" {
			return nil, fmt.Errorf("event %d has no action", i+1)
		}
		if y := v.Timestamp.UTC().Year(); y < 1970 || y > 9999 {
			v.Timestamp = time.Time{} // none: the log gives it its own
		}
		out = append(out, &Record{
			Time: v.Timestamp.UTC(), Kind: KindEvent, RequestID: v.Request.ID, Authenticated: true, Account: v.Actor.Name,
			Address: addressOf(v.Request.Addr), Method: v.Request.Method, UserAgent: v.Request.UserAgent,
			Event: &Event{
				ID: v.ID, Action: v.Action, Repository: v.Target.Repository, FromRepository: v.Target.FromRepository, Tag: v.Target.Tag,
				Digest: v.Target.Digest, MediaType: v.Target.MediaType, Size: max(v.Target.Size, 0), Host: v.Request.Host, Instance: cmp.Or(v.Source.Addr, v.Source.InstanceID),
			},
		})
	}
	return out, nil
}

// addressOf reads an address with or without a port; a list (X-Forwarded-For) counts by its
// last element.
func addressOf(s string) netip.Addr {
	if i := strings.LastIndexByte(s, ','); i >= 0 {
		s = s[i+1:]
	}
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
