package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The modes of the audit log.
const (
	AuditBestEffort = "best-effort" // what can't be recorded is served, counted and told
	AuditRequired   = "required"    // what can't be recorded is refused
	AuditOff        = "off"
)

// Audit says how the audit log is kept.
type Audit struct {
	// Set tells that the file says something about it.
	Set  bool
	Mode string
	// Path is the log's folder, relative to the deployment.
	Path string
	// Sync is always, interval (every SyncEvery) or never.
	Sync      string
	SyncEvery time.Duration
	// RotateSize (bytes) and RotateAge bound a file of the log.
	RotateSize int64
	RotateAge  time.Duration
	// Keep is for how long lines are kept, KeepSize how many bytes; zero: for ever, any.
	Keep     time.Duration
	KeepSize int64
	// Compress packs files that are not written any more.
	Compress bool
	// Events is where the registry reports to; nil: nowhere.
	Events *AuditEvents
}

// AuditEvents is the listener for the registry's notifications.
type AuditEvents struct {
	Address string // host:port
	// SecretFile holds what the registry must send in its Authorization header,
	// relative to the deployment.
	SecretFile string
	// Peers are the networks that may connect.
	Peers []netip.Prefix
}

// DefaultAudit returns the settings of a file that says nothing about the audit log.
func DefaultAudit() Audit {
	return Audit{
		Mode: AuditBestEffort, Path: "audit", Sync: "interval", SyncEvery: time.Second,
		RotateSize: 64 << 20, RotateAge: 24 * time.Hour, Keep: 365 * 24 * time.Hour, Compress: true,
	}
}

// audit reads the mode alone, or a map of settings.
func (w *walker) audit(k pair, s subject) {
	x := &w.f.Extras.Audit
	x.Set = true
	val := w.deref(k.val)
	if val.Kind == yaml.ScalarNode {
		w.auditMode(k, s)
		return
	}
	if !w.mapping(val, s, "best-effort, required, off or a map, as in {mode: required}", &auditSection) {
		return
	}
	for _, p := range w.pairs(val, s, true, nil) {
		ps := subject{format: auditSection.where + "." + p.name}
		if auditSection.has(p.name) && isNull(w.deref(p.val)) {
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the value"})
			continue
		}
		switch p.name {
		case "mode":
			w.auditMode(p, ps)
		case "path":
			x.Path = w.filled(p.val, ps, x.Path)
		case "fsync":
			if v := w.oneOf(p, ps, "always", "interval", "never"); v != "" {
				x.Sync = v
			}
		case "fsync_interval":
			if d, ok := w.duration(p.val, ps, 10*time.Millisecond, time.Hour); ok {
				x.SyncEvery = d
			}
		case "rotate_size":
			if n, ok := w.bytes(p.val, ps, 64<<10); ok {
				x.RotateSize = n
			}
		case "rotate_age":
			if d, ok := w.duration(p.val, ps, time.Minute, 10*365*24*time.Hour); ok {
				x.RotateAge = d
			}
		case "keep":
			if d, ok := w.duration(p.val, ps, 0, 100*365*24*time.Hour); ok {
				x.Keep = d
			}
		case "keep_size":
			if n, ok := w.bytes(p.val, ps, 0); ok {
				x.KeepSize = n
			}
		case "compress":
			x.Compress = w.boolean(p.val, ps)
		case "events":
			w.auditEvents(p, ps)
		default:
			w.unknown(p, &auditSection)
		}
	}
	if x.KeepSize > 0 && x.KeepSize < x.RotateSize {
		w.problem(val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: keep_size (%d bytes) is less than one file (rotate_size, %d bytes)", s, x.KeepSize, x.RotateSize)})
	}
}

func (w *walker) auditMode(k pair, s subject) {
	if v := w.oneOf(k, s, AuditBestEffort, AuditRequired, AuditOff); v != "" {
		w.f.Extras.Audit.Mode = v
	}
}

// filled reads a text that must not be empty; otherwise is the answer where it is.
func (w *walker) filled(n *yaml.Node, s subject, otherwise string) string {
	text, ok := w.scalar(n, s)
	if !ok {
		return otherwise
	}
	if strings.TrimSpace(text) == "" || strings.ContainsRune(text, 0) {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected a path, found %q", s, text)})
		return otherwise
	}
	return text
}

// bytes reads a size with or without a unit, 0 or at least least.
func (w *walker) bytes(n *yaml.Node, s subject, least int64) (int64, bool) {
	text, ok := w.scalar(n, s)
	if !ok {
		return 0, false
	}
	v, err := ParseSize(text)
	if err != nil {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected a size as 64MiB or 10GiB, found %q", s, maskedKey(text))})
		return 0, false
	}
	if v != 0 && v < least {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected at least %d bytes, found %d", s, least, v)})
		return 0, false
	}
	return v, true
}

// ParseSize reads a number of bytes, with or without one of the units KiB, MiB, GiB and TiB.
func ParseSize(text string) (int64, error) {
	number, factor := text, int64(1)
	for unit, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if digits, found := strings.CutSuffix(text, unit); found {
			number, factor = strings.TrimSpace(digits), f
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q: expected a size as 64MiB or 10GiB", text)
	}
	return v * factor, nil
}

// ParseKeep reads for how long something is kept: 30d, 12h; 0 is for ever.
func ParseKeep(text string) (time.Duration, error) {
	d, err := parseDuration(text, true)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q: expected a length of time as 365d or 12h, or 0", text)
	}
	return d, nil
}

func (w *walker) auditEvents(k pair, s subject) {
	val := w.deref(k.val)
	if !w.mapping(val, s, "a map, as in {address: ':5002', secret_file: conf/auth/events-secret}", &auditEventsSection) {
		return
	}
	e := &AuditEvents{Peers: PrivateRanges()}
	for _, p := range w.pairs(val, s, true, nil) {
		ps := subject{format: auditEventsSection.where + "." + p.name}
		if auditEventsSection.has(p.name) && isNull(w.deref(p.val)) {
			w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value", ps), Hint: "remove the line, or write the value"})
			continue
		}
		switch p.name {
		case "address":
			text, ok := w.scalar(p.val, ps)
			if !ok {
				continue
			}
			if _, port, err := net.SplitHostPort(text); err != nil || port == "" {
				w.problem(p.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected host:port or :port, found %q", ps, maskedKey(text))})
				continue
			}
			e.Address = text
		case "secret_file":
			e.SecretFile = w.filled(p.val, ps, "")
		case "peers":
			if list, ok := w.networks(p, ps, func(*yaml.Node, netip.Prefix) {}); ok {
				e.Peers = list
			}
		default:
			w.unknown(p, &auditEventsSection)
		}
	}
	for name, v := range map[string]string{"address": e.Address, "secret_file": e.SecretFile} {
		if v == "" && !w.mentions(val, name) {
			w.problem(k.key, Problem{Code: CodeMissingKey, Msg: fmt.Sprintf("%s: %s is missing", s, name)})
		}
	}
	w.f.Extras.Audit.Events = e
}

// mentions reports whether the map has the key.
func (w *walker) mentions(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}
