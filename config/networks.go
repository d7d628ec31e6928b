package config

import (
	"bytes"
	"net/netip"
	"slices"
)

// Networks is a set of addresses, as disjoint ranges in ascending order. A binary search suffices, because there are
// few ranges and few look-ups.
type Networks []span

// span is the addresses from first to last, IPv4 mapped into IPv6 as in connection slots.
type span struct{ first, last [16]byte }

// parseNetworks parses networks (10.0.0.0/8) and single addresses, which are the value of a key. A network with bits
// beyond its length is invalid, because it is a slip of the pen.
func parseNetworks(key string, texts []string) (n Networks, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, errAddr := netip.ParseAddr(text); errAddr == nil {
			p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
		}
		if err != nil || p.Masked() != p || p.Addr().Is4In6() {
			return nil, bad(key, text, "give addresses or networks, for example 10.0.0.0/8")
		}
		bits := p.Bits()
		if p.Addr().Is4() {
			bits += 96
		}
		s := span{p.Addr().As16(), p.Addr().As16()}
		for i := bits; i < 128; i++ {
			s.last[i/8] |= 0x80 >> (i % 8)
		}
		n = append(n, s)
	}
	return n.joined(), nil
}

// joined sorts the spans and merges those that overlap.
func (n Networks) joined() Networks {
	slices.SortFunc(n, func(a, b span) int { return bytes.Compare(a.first[:], b.first[:]) })
	kept := n[:0]
	for _, s := range n {
		if k := len(kept); k > 0 && bytes.Compare(s.first[:], kept[k-1].last[:]) <= 0 {
			if bytes.Compare(s.last[:], kept[k-1].last[:]) > 0 {
				kept[k-1].last = s.last
			}
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// Contains reports whether a, with IPv4 mapped into IPv6, is in the set.
func (n Networks) Contains(a [16]byte) bool {
	low, high := 0, len(n)
	for low < high {
		mid := (low + high) / 2
		if bytes.Compare(n[mid].last[:], a[:]) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(n) && bytes.Compare(n[low].first[:], a[:]) <= 0
}
