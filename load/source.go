package load

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// The range of source ports. Servers listen on lower ones. An address has 50,000 ports in this range.
const (
	minPort      = 10_000
	maxPort      = 59_999
	portsAnAddr  = maxPort - minPort + 1
	spareSources = 4 // a reactor uses at most four fifths of its ports: the others rest in TIME-WAIT
)

// sources are the source addresses and ports of one reactor, disjoint from those of all others. The zero value leaves
// the choice to the kernel.
//
// Sources are used in rotation, so that a closed one rests for the longest possible time.
type sources struct {
	addrs  []netip.Addr
	lo, hi int // of the numbers address*portsAnAddr + port-minPort
	next   int
}

// planSources divides addrs among reactors that each open sockets sockets. Without addrs and with a loopback
// target it takes them from network, a number from 0 to 127, of the loopback network: 127.(128+network).0.0/16. Two
// programs with different networks can load the same target without port conflicts.
func planSources(to netip.Addr, addrs []netip.Addr, reactors, sockets, network int) []sources {
	if len(addrs) == 0 && to.Is4() && to.IsLoopback() {
		each := (sockets + sockets/spareSources + portsAnAddr - 1) / portsAnAddr
		for i := range reactors * each {
			addrs = append(addrs, loopbackAddr(network, i+1))
		}
	}
	plan := make([]sources, reactors)
	if len(addrs) == 0 {
		return plan
	}
	total := len(addrs) * portsAnAddr
	for i := range plan {
		lo, hi := i*total/reactors, (i+1)*total/reactors
		plan[i] = sources{addrs: addrs, lo: lo, hi: hi, next: lo}
	}
	return plan
}

// loopbackAddr returns 127.(128+network).x.y for n = 256x + y.
func loopbackAddr(network, n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 127<<24|uint32(128+network)<<16|uint32(n))
	return netip.AddrFrom4(b)
}

// take returns the next source address and port; the zero AddrPort leaves both to the kernel.
func (s *sources) take() netip.AddrPort {
	if s.addrs == nil {
		return netip.AddrPort{}
	}
	n := s.next
	if s.next++; s.next == s.hi {
		s.next = s.lo
	}
	return netip.AddrPortFrom(s.addrs[n/portsAnAddr], uint16(minPort+n%portsAnAddr))
}

// jump continues at a random source after one that was in use, because its neighbours are probably in use as well.
func (s *sources) jump(r *rand.Rand) {
	if s.addrs != nil {
		s.next = s.lo + r.IntN(s.hi-s.lo)
	}
}
