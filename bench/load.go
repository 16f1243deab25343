package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// request is an HTTP request as it goes over the wire: making it anew each time would cost
// more than answering it.
type request []byte

// newRequest makes a GET with credentials; user "" sends none.
func newRequest(host, path, user, password string) request {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	if user != "" {
		b = fmt.Appendf(b, "Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	return append(b, "\r\n"...)
}

// requestFor makes the request for a URL, which must be plain HTTP.
func requestFor(raw, user, password string) (addr string, r request, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", nil, err
	}
	if u.Scheme != "http" {
		return "", nil, fmt.Errorf("%s: only http is measured", raw)
	}
	addr = u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "80")
	}
	return addr, newRequest(u.Host, u.RequestURI(), user, password), nil
}

// result is what a measurement found.
type result struct {
	name     string
	took     time.Duration
	cpu      time.Duration // of this process, or of the one that -pid names
	resident string        // memory of that process afterwards
	errors   int
	times    []time.Duration // of the good answers, ascending
}

func (r result) rate() float64 { return float64(len(r.times)) / r.took.Seconds() }

// work is the processor time that a request took.
func (r result) work() time.Duration {
	return r.cpu / time.Duration(max(1, len(r.times)+r.errors))
}

func (r result) quantile(q float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.times[int(q*float64(len(r.times)-1))].Round(time.Microsecond)
}

// client is one connection.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(ctx context.Context, addr string) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// do sends the request and reads the whole answer.
func (c *client) do(r request) error {
	_ = c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write(r); err != nil {
		return err
	}
	return c.answer()
}

// answer reads an answer and keeps nothing of it. It knows only what is needed, an answer with
// a Content-Length: whatever the client does is taken from what the server could.
func (c *client) answer() error {
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	good := bytes.HasPrefix(status, []byte("HTTP/1.1 200 "))
	if !good {
		err = fmt.Errorf("answered %q", bytes.TrimSpace(status))
	}
	length := -1
	for {
		line, rerr := c.r.ReadSlice('\n')
		if rerr != nil {
			return rerr
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, rerr = strconv.Atoi(string(bytes.TrimSpace(value))); rerr != nil {
				return rerr
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	if _, rerr := c.r.Discard(length); rerr != nil {
		return rerr
	}
	return err
}

// once sends one request over a connection of its own.
func once(ctx context.Context, addr string, r request) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	return c.do(r)
}

// closedLoop keeps so many clients busy: each asks again when it has its answer. next makes
// the request of a number. It ends after length or, where count is not 0, after so many requests.
func closedLoop(ctx context.Context, addr string, clients int, length time.Duration, count int, next func(int) request) (result, error) {
	var (
		number atomic.Int64
		mu     sync.Mutex
		all    result
		first  error
		wg     sync.WaitGroup
	)
	begin := time.Now()
	for range clients {
		c, err := dial(ctx, addr)
		if err != nil {
			return result{}, err
		}
		wg.Go(func() {
			defer c.conn.Close()
			var times []time.Duration
			var failed error
			for start := time.Now(); ctx.Err() == nil && failed == nil; {
				n := int(number.Add(1))
				if count > 0 && n > count || count == 0 && start.Sub(begin) >= length {
					break
				}
				failed = c.do(next(n))
				end := time.Now()
				if failed == nil {
					times = append(times, end.Sub(start))
				}
				start = end
			}
			mu.Lock()
			defer mu.Unlock()
			all.times = append(all.times, times...)
			if failed != nil {
				all.errors++
				first = errors.Join(first, failed)
			}
		})
	}
	wg.Wait()
	all.took = time.Since(begin)
	slices.Sort(all.times)
	if len(all.times) == 0 {
		return all, fmt.Errorf("no good answer: %w", first)
	}
	return all, ctx.Err()
}

// openLoop sends rate requests a second whatever the server does, and measures each from when
// it was due.
func openLoop(ctx context.Context, addr string, rate int, length time.Duration, next func(int) request) (result, error) {
	const clients = 64
	type due struct {
		at time.Time
		r  request
	}
	queue := make(chan due, rate) // a second's worth
	var (
		mu    sync.Mutex
		all   result
		first error
		wg    sync.WaitGroup
	)
	for range clients {
		c, err := dial(ctx, addr)
		if err != nil {
			close(queue)
			return result{}, err
		}
		wg.Go(func() {
			defer func() { _ = c.conn.Close() }()
			times, bad := []time.Duration(nil), 0
			var failed error
			for d := range queue {
				if err := c.do(d.r); err != nil {
					bad++
					failed = err
					_ = c.conn.Close()
					if again, err := dial(ctx, addr); err == nil {
						c = again
					}
					continue
				}
				times = append(times, time.Since(d.at))
			}
			mu.Lock()
			defer mu.Unlock()
			all.times = append(all.times, times...)
			all.errors += bad
			first = errors.Join(first, failed)
		})
	}
	begin := time.Now()
	dropped := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := 0; ctx.Err() == nil; {
		now := <-tick.C
		elapsed := min(now.Sub(begin), length)
		for want := int(elapsed.Seconds() * float64(rate)); sent < want; sent++ {
			select {
			case queue <- due{begin.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second))), next(sent)}:
			default:
				dropped++ // more than a second behind
			}
		}
		if elapsed >= length {
			break
		}
	}
	close(queue)
	wg.Wait()
	all.took = time.Since(begin)
	all.errors += dropped
	slices.Sort(all.times)
	if len(all.times) == 0 {
		return all, fmt.Errorf("no good answer: %w", first)
	}
	return all, ctx.Err()
}
