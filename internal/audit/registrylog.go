package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ScanRegistryLog is [Scan] for the registry's own log in JSON (log.formatter: json, level
// info): deployments without notifications have nothing else that names who pulled and
// pushed. Registry 3 writes the account and the repository into its lines; registry 2.8
// writes neither, and its lines are of no use here. Text before the first brace of a line,
// as docker compose logs puts it there, is passed over, and so are lines that tell of no
// pull, push, mount or delete.
func ScanRegistryLog(ctx context.Context, r io.Reader, filter *Filter, f func(*Record) error) (ScanStats, error) {
	var stats ScanStats
	err := process(ctx, &stats, f, func(emit func([]byte) error, buffer func() []byte) error {
		return readLines(readerOnly{r}, emit, buffer)
	}, func() func(*chunk) {
		return func(c *chunk) { c.searchRegistryLog(filter) }
	})
	return stats, err
}

// readerOnly hides that a log given by name may be one that lines are still written to.
type readerOnly struct{ io.Reader }

func (c *chunk) searchRegistryLog(filter *Filter) {
	for line := range bytes.Lines(c.data) {
		c.lines++
		i := bytes.IndexByte(line, '{')
		if i < 0 || !bytes.Contains(line, []byte(`"http.response.status"`)) || !bytes.Contains(line, []byte(`"vars.name"`)) {
			continue
		}
		r, ok := parseRegistryLine(line[i:])
		if ok && filter.Match(r) {
			*c.room() = *r
		}
	}
}

// registryLine is what a line of distribution's log tells of a request.
type registryLine struct {
	Time      time.Time `json:"time"`
	Account   string    `json:"auth.user.name"`
	Name      string    `json:"vars.name"`
	Reference string    `json:"vars.reference"`
	Digest    string    `json:"vars.digest"`
	Host      string    `json:"http.request.host"`
	ID        string    `json:"http.request.id"`
	Method    string    `json:"http.request.method"`
	Remote    string    `json:"http.request.remoteaddr"`
	URI       string    `json:"http.request.uri"`
	UserAgent string    `json:"http.request.useragent"`
	Status    int       `json:"http.response.status"`
	MediaType string    `json:"http.response.contenttype"`
	Instance  string    `json:"instance.id"`
}

func parseRegistryLine(line []byte) (*Record, bool) {
	var l registryLine
	if err := json.Unmarshal(line, &l); err != nil || l.Status == 0 || l.Time.UTC().Year() > 9999 {
		return nil, false
	}
	path, query, _ := strings.Cut(l.URI, "?")
	action := ""
	switch {
	case strings.Contains(path, "/manifests/"):
		switch l.Method {
		case http.MethodPut:
			action = "push"
		case http.MethodGet, http.MethodHead:
			action = "pull"
		case http.MethodDelete:
			action = "delete"
		}
	case strings.HasSuffix(strings.TrimSuffix(path, "/"), "/blobs/uploads") && l.Method == http.MethodPost && l.Status == http.StatusCreated:
		action = "mount"
	case strings.Contains(path, "/blobs/") && l.Method == http.MethodDelete:
		action = "delete"
	}
	if action == "" || l.Status == http.StatusUnauthorized { // every client's first request
		return nil, false
	}
	r := &Record{
		Time: l.Time.UTC(), Kind: KindEvent, RequestID: l.ID, Authenticated: true, Account: l.Account, Address: addressOf(l.Remote),
		Method: l.Method, UserAgent: l.UserAgent, Status: l.Status,
		Event: &Event{Action: action, Repository: l.Name, Digest: l.Digest, Host: l.Host, Instance: l.Instance},
	}
	if strings.Contains(l.Reference, ":") {
		r.Event.Digest = l.Reference
	} else {
		r.Event.Tag = l.Reference
	}
	if action == "mount" {
		if v, err := url.ParseQuery(query); err == nil {
			r.Event.FromRepository, r.Event.Digest = v.Get("from"), v.Get("mount")
		}
	}
	if l.Status >= http.StatusBadRequest {
		r.Result = "failed"
	}
	return r, true
}
