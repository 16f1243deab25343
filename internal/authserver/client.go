package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// peerOf returns the address of the connection's peer from http.Request.RemoteAddr. The
// zero address stands for a peer without one: a unix socket's.
func peerOf(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	if a, err := netip.ParseAddr(remote); err == nil {
		return a.Unmap().WithZone("")
	}
	return netip.Addr{}
}

// client returns the client's address as the access rules see it. Errors are about the
// header: it is missing, or says nothing usable.
func (ip RealIP) client(header http.Header, peer netip.Addr) (netip.Addr, error) {
	if ip.Header == "" {
		return peer, nil
	}
	if ip.Trusted != nil && !ip.trusts(peer) {
		return peer, nil
	}
	lines := header.Values(ip.Header)
	if ip.Trusted == nil {
		if len(lines) == 0 || lines[0] == "" {
			return netip.Addr{}, fmt.Errorf("header %s, which the proxy in front must send, is missing: did somebody ask the server directly?", ip.Header)
		}
		return ip.at(strings.Split(lines[0], ","))
	}
	if len(lines) == 0 {
		return netip.Addr{}, fmt.Errorf("header %s, which the proxy in front must send, is missing: did somebody ask the server directly?", ip.Header)
	}
	// Proxies append, and each may write a line of its own: only the whole list, read
	// from the right, tells what a trusted one saw.
	list := strings.Split(strings.Join(lines, ","), ",")
	var addr netip.Addr
	for i := len(list) - 1; i >= 0; i-- {
		var err error
		if addr, err = parseAddr(list[i]); err != nil {
			return netip.Addr{}, fmt.Errorf("header %s: %w", ip.Header, err)
		}
		if !ip.trusts(addr) {
			break
		}
	}
	return addr, nil
}

// limitedBy returns the address that failed logins are counted by. It is the client's,
// unless any peer's header counts: then a guesser would be somebody else at each guess.
// There it is what the nearest proxy wrote, the rightmost address, where the peer can be
// a proxy at all, and else the peer.
func (ip RealIP) limitedBy(header http.Header, peer, client netip.Addr) netip.Addr {
	if ip.Header == "" || ip.Trusted != nil {
		return client
	}
	lines := header.Values(ip.Header)
	if len(lines) == 0 || !private(peer) {
		return peer
	}
	last := lines[len(lines)-1]
	addr, err := parseAddr(last[strings.LastIndexByte(last, ',')+1:])
	if err != nil {
		return peer
	}
	return addr
}

// at picks an address by position, as docker_auth does: a negative one counts from the
// right and stops at the leftmost.
func (ip RealIP) at(list []string) (netip.Addr, error) {
	pos := ip.Pos
	if pos < 0 {
		pos = max(0, pos+len(list))
	}
	if pos >= len(list) {
		return netip.Addr{}, fmt.Errorf("header %s has %d addresses, none at position %d", ip.Header, len(list), ip.Pos)
	}
	addr, err := parseAddr(list[pos])
	if err != nil {
		return netip.Addr{}, fmt.Errorf("header %s: %w", ip.Header, err)
	}
	return addr, nil
}

// trusts reports whether a peer's header counts.
func (ip RealIP) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return true // a unix socket: who may connect is decided by its mode
	}
	for _, p := range ip.Trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddr reads an address that a port may follow: "192.0.2.1", "192.0.2.1:80",
// "2001:db8::1", "[2001:db8::1]:80".
func parseAddr(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	if host, port, ok := strings.Cut(s, "]:"); ok && strings.HasPrefix(host, "[") && digits(port) {
		s = host[1:]
	} else if host, port, ok := strings.Cut(s, ":"); ok && digits(port) {
		s = host // one colon only: digits has none
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, errors.New("not an address")
	}
	return addr.Unmap(), nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
