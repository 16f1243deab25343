// Package hostcheck asks this machine and the network what a deployment needs of them:
// does a name resolve, and to an address of this machine; is a port free.
//
// # Contract
//
// Nothing here is a verdict: a machine behind NAT has none of its public addresses, a
// firewall in front is not seen, a name may be registered a minute later. Callers show
// what was found as a note, or weigh it as a doctor does. No call outlives its context,
// and without any network the answers are errors in the result, never a wait.
//
// The network comes in through [Checker], so that tests need none.
//
// # Example
//
//	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
//	defer cancel()
//	c := hostcheck.System()
//	r := c.Resolve(ctx, "registry.example.com")
//	fmt.Println(r.Here, r.Addresses, r.Err)
//	fmt.Println(c.PortFree(ctx, ":443"))
package hostcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Checker holds the ways to the outside. All fields must be set; [System] does.
type Checker struct {
	// Lookup returns the addresses of a host name.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Interfaces returns the addresses of this machine.
	Interfaces func() ([]netip.Addr, error)
	// Listen opens a TCP listener on a "host:port" address.
	Listen func(ctx context.Context, address string) (net.Listener, error)
	// Dial opens a TCP connection to a "host:port" address.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// System returns the checker of this machine, with the resolver that the machine is set
// up with.
func System() Checker {
	var lc net.ListenConfig
	var d net.Dialer
	return Checker{
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		Interfaces: interfaceAddrs,
		Listen: func(ctx context.Context, address string) (net.Listener, error) {
			return lc.Listen(ctx, "tcp", address)
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address)
		},
	}
}

func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	return out, nil
}

// Resolution is what became of a name.
type Resolution struct {
	Name      string
	Addresses []netip.Addr // sorted, each once, IPv4 as such; empty where nothing was found
	Here      bool         // one of them is an address of this machine, loopback included
	NoSuch    bool         // the resolver answered that there is no such name
	Err       error        // why there are no addresses, or why Here could not be told
}

// Resolve looks name up (an IP address is its own answer) and compares what it finds with
// this machine's addresses.
func (c Checker) Resolve(ctx context.Context, name string) Resolution {
	r := Resolution{Name: name}
	if addr, err := netip.ParseAddr(name); err == nil {
		r.Addresses = []netip.Addr{addr}
	} else {
		found, err := c.Lookup(ctx, name)
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			r.NoSuch = true
		}
		if err != nil {
			r.Err = err
			return r
		}
		r.Addresses = found
	}
	r.Addresses = slices.Clone(r.Addresses)
	for i, addr := range r.Addresses {
		r.Addresses[i] = addr.Unmap().WithZone("")
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	r.Addresses = slices.Compact(r.Addresses)
	own, err := c.Interfaces()
	r.Err = err
	r.Here = slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool {
		return a.IsLoopback() || slices.Contains(own, a)
	})
	return r
}

// PortState is what can be told of a port.
type PortState int

// The states of a port.
const (
	PortUnknown PortState = iota // could not be told, see the error beside it
	PortFree                     // nobody listens there
	PortTaken                    // something listens there
)

// String returns free, taken or unknown.
func (s PortState) String() string {
	return cmp.Or(map[PortState]string{PortFree: "free", PortTaken: "taken"}[s], "unknown")
}

// wsaeaddrinuse is EADDRINUSE as Windows has it; syscall's own constant is made up there.
const wsaeaddrinuse = syscall.Errno(10048)

// PortFree tells whether a TCP listener can be had on address, a "host:port" whose host
// may be empty for all addresses. Where this user may not listen on the port at all
// (those below 1024 on many systems), the port is tried from the client's side: a
// connection means that it is taken, a refusal that it is free. An address that this
// machine does not have is unknown, with the reason.
func (c Checker) PortFree(ctx context.Context, address string) (PortState, error) {
	l, err := c.Listen(ctx, address)
	switch {
	case err == nil:
		_ = l.Close()
		return PortFree, nil
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaeaddrinuse):
		return PortTaken, nil
	case errors.Is(err, fs.ErrPermission):
		return c.knock(ctx, address)
	}
	return PortUnknown, err
}

// knock connects to the port to learn whether somebody is there.
func (c Checker) knock(ctx context.Context, address string) (PortState, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return PortUnknown, err
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	conn, err := c.Dial(ctx, net.JoinHostPort(host, port))
	switch {
	case err == nil:
		_ = conn.Close()
		return PortTaken, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return PortFree, nil
	}
	return PortUnknown, err
}
