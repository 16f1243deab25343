package hostcheck_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/hostcheck"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestResolve(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
	for _, tc := range []struct {
		name   string
		host   string
		found  []netip.Addr
		err    error
		want   []netip.Addr
		here   bool
		noSuch bool
		failed bool
	}{
		{name: "here", host: "a.example", found: addrs("192.0.2.7"), want: addrs("192.0.2.7"), here: true},
		{name: "elsewhere", host: "a.example", found: addrs("198.51.100.1"), want: addrs("198.51.100.1")},
		{name: "one of several is here", host: "a.example", found: addrs("198.51.100.1", "2001:db8::7"), want: addrs("198.51.100.1", "2001:db8::7"), here: true},
		{name: "mapped and twice", host: "a.example", found: addrs("::ffff:192.0.2.7", "192.0.2.7"), want: addrs("192.0.2.7"), here: true},
		{name: "loopback", host: "localhost", found: addrs("127.0.0.1"), want: addrs("127.0.0.1"), here: true},
		{name: "an address is not looked up", host: "192.0.2.7", err: refused, want: addrs("192.0.2.7"), here: true},
		{name: "no such name", host: "nope.example", err: &net.DNSError{IsNotFound: true}, noSuch: true, failed: true},
		{name: "no network", host: "a.example", err: refused, failed: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := hostcheck.Checker{
				Lookup:     func(context.Context, string) ([]netip.Addr, error) { return tc.found, tc.err },
				Interfaces: func() ([]netip.Addr, error) { return addrs("127.0.0.1", "192.0.2.7", "2001:db8::7"), nil },
			}
			got := c.Resolve(t.Context(), tc.host)
			if !slices.Equal(got.Addresses, tc.want) || got.Here != tc.here || got.NoSuch != tc.noSuch || (got.Err != nil) != tc.failed {
				t.Errorf("Resolve(%q) = %+v, want addresses %v, here %v, no such %v, failed %v", tc.host, got, tc.want, tc.here, tc.noSuch, tc.failed)
			}
		})
	}
}

func TestPortFree(t *testing.T) {
	t.Parallel()
	errno := func(e syscall.Errno) error {
		return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", e)}
	}
	for _, tc := range []struct {
		name         string
		address      string
		listen, dial error
		dialled      string
		want         hostcheck.PortState
	}{
		{name: "taken", address: ":80", listen: errno(syscall.EADDRINUSE), want: hostcheck.PortTaken},
		{name: "not this machine's", address: "192.0.2.1:80", listen: errno(syscall.EADDRNOTAVAIL), want: hostcheck.PortUnknown},
		{name: "no right, nobody there", address: ":80", listen: errno(syscall.EACCES), dial: errno(syscall.ECONNREFUSED), dialled: "127.0.0.1:80", want: hostcheck.PortFree},
		{name: "no right, somebody there", address: "0.0.0.0:80", listen: errno(syscall.EACCES), dialled: "127.0.0.1:80", want: hostcheck.PortTaken},
		{name: "no right, one address", address: "192.0.2.7:80", listen: errno(syscall.EACCES), dial: errors.New("deadline"), dialled: "192.0.2.7:80", want: hostcheck.PortUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dialled := ""
			c := hostcheck.Checker{
				Listen: func(context.Context, string) (net.Listener, error) { return nil, tc.listen },
				Dial: func(_ context.Context, address string) (net.Conn, error) {
					dialled = address
					if tc.dial != nil {
						return nil, tc.dial
					}
					a, b := net.Pipe()
					t.Cleanup(func() { _ = b.Close() })
					return a, nil
				},
			}
			got, err := c.PortFree(t.Context(), tc.address)
			if got != tc.want || dialled != tc.dialled || (got == hostcheck.PortUnknown) != (err != nil) {
				t.Errorf("PortFree(%q) = %v, %v after dialling %q; want %v after %q", tc.address, got, err, dialled, tc.want, tc.dialled)
			}
		})
	}
}

// TestThisMachine asks the real system about a port that is certainly taken, and about the
// same port once it is free again.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := hostcheck.System()
	if got, err := c.PortFree(t.Context(), l.Addr().String()); got != hostcheck.PortTaken || err != nil {
		t.Errorf("an open listener's port: %v, %v; want taken", got, err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.PortFree(t.Context(), address); got != hostcheck.PortFree || err != nil {
		t.Errorf("after closing it: %v, %v; want free", got, err)
	}
	if r := c.Resolve(t.Context(), "127.0.0.1"); !r.Here || r.Err != nil {
		t.Errorf("127.0.0.1 is not here: %+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if r := c.Resolve(ctx, "registry.example.com"); r.Err == nil {
		t.Errorf("a lookup past its deadline: %+v, want an error", r)
	}
}
