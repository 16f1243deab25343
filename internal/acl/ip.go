package acl

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseIP reads an address or a CIDR as the net package does, leading zeros of the prefix
// length included. A range of IPv4 addresses written as IPv6 becomes IPv4; one that is wider
// than all IPv4 addresses holds IPv6 addresses only.
func parseIP(s string) (netip.Prefix, error) {
	text, length, isCIDR := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a CIDR", s)
	}
	bits := addr.BitLen()
	if isCIDR {
		n, err := strconv.ParseUint(length, 10, 16)
		if err != nil || int(n) > bits {
			return netip.Prefix{}, fmt.Errorf("%q has a bad prefix length", s)
		}
		bits = int(n)
	}
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits).Masked(), nil
}

// plainAddr brings a request's address into the form that prefixes are compared with.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// IPCells returns the zero address, which stands for a request without one, and one address
// for each part of the address space that the policy's addresses and CIDRs tell apart.
// Two requests that differ in their address only get the same decision when both addresses
// lie in the same part. Without any IP field only the zero address is returned.
func (p *Policy) IPCells() []netip.Addr {
	seen := map[netip.Prefix]bool{}
	var four, six []netip.Prefix
	for i := range p.compiled {
		ip := p.compiled[i].ip
		if ip == nil || seen[*ip] {
			continue
		}
		seen[*ip] = true
		if ip.Addr().Is4() {
			four = append(four, *ip)
		} else {
			six = append(six, *ip)
		}
	}
	cells := []netip.Addr{{}}
	if len(four) > 0 {
		cells = append(cells, cellsOf(netip.PrefixFrom(netip.IPv4Unspecified(), 0), four)...)
	}
	if len(six) > 0 {
		cells = append(cells, cellsOf(netip.PrefixFrom(netip.IPv6Unspecified(), 0), six)...)
	}
	return cells
}

// cellsOf cuts space by distinct prefixes. Prefixes nest or are disjoint, so a cell is a
// prefix without those directly inside it.
func cellsOf(space netip.Prefix, prefixes []netip.Prefix) []netip.Addr {
	if !slices.Contains(prefixes, space) {
		prefixes = append(prefixes, space)
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits())
	})
	var cells []netip.Addr
	// i is consumed from the prefixes, parents before children, left to right.
	i := 0
	var visit func()
	visit = func() {
		parent := prefixes[i]
		i++
		free := parent.Addr() // the next address not in a child
		found, full := netip.Addr{}, false
		for i < len(prefixes) && parent.Overlaps(prefixes[i]) {
			child := prefixes[i]
			if !found.IsValid() && !full {
				found = unmappedBefore(free, child.Addr())
			}
			free = after(child)
			full = !free.IsValid() || !parent.Contains(free)
			visit()
		}
		if !found.IsValid() && !full {
			found = unmappedBefore(free, after(parent))
		}
		if found.IsValid() {
			cells = append(cells, found)
		}
	}
	visit()
	return cells
}

// unmappedBefore returns the first address in [from, end) that is not an IPv4 address
// written as IPv6, or the zero address; a zero end is the end of the space.
func unmappedBefore(from, end netip.Addr) netip.Addr {
	if from.Is4In6() {
		from = netip.AddrFrom16([16]byte{9: 1}) // the first one after ::ffff:255.255.255.255
	}
	if end.IsValid() && !from.Less(end) {
		return netip.Addr{}
	}
	return from
}

// after returns the first address after a prefix, or the zero address.
func after(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		last = last.Unmap()
	}
	return last.Next()
}
