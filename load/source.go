package load

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// The ports that are connected from. Below are those that servers listen on; an address has some 50,000 above them.
const (
	minPort      = 10_000
	maxPort      = 59_999
	portsAnAddr  = maxPort - minPort + 1
	spareSources = 4 // of the ports of a reactor four fifths are used at most: the others rest in TIME-WAIT
)

// sources is where one reactor connects from: a part of all addresses times all ports that no other reactor has. The
// zero value leaves it to the kernel.
//
// Each is given out in turn, so that one that has been closed rests as long as possible.
type sources struct {
	addrs  []netip.Addr
	lo, hi int // of the numbers address*portsAnAddr + port-minPort
	next   int
}

// planSources divides addrs among reactors, of which each opens sockets sockets. With no addrs and a loopback
// target they are taken from network, a number from 0 to 127, of the loopback network: 127.(128+network).0.0/16. Two
// programs that load the same target from different networks do not meet each other's ports.
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

// loopbackAddr is 127.(128+network).x.y for n = 256x + y.
func loopbackAddr(network, n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 127<<24|uint32(128+network)<<16|uint32(n))
	return netip.AddrFrom4(b)
}

// take is the next source address and port; the zero AddrPort leaves both to the kernel.
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

// jump goes on somewhere else, after a source that was taken: those next to it are likely to be taken too.
func (s *sources) jump(r *rand.Rand) {
	if s.addrs != nil {
		s.next = s.lo + r.IntN(s.hi-s.lo)
	}
}
