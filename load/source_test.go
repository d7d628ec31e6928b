package load

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestSourcesOfAMillion: a million sockets in 53 reactors have enough sources, none twice, and no port that servers
// use.
func TestSourcesOfAMillion(t *testing.T) {
	const reactors, each = 53, 19_900
	used := map[netip.AddrPort]bool{}
	for _, s := range planSources(loopback, nil, reactors, each, 5) {
		for range each + each/spareSources {
			at := s.take()
			if used[at] {
				t.Fatalf("%s twice", at)
			}
			used[at] = true
			if p := at.Port(); p < minPort || p > maxPort || !at.Addr().IsLoopback() || at.Addr().As4()[1] != 128+5 {
				t.Fatalf("source %s", at)
			}
		}
	}
}

// TestSourcesOfOneLargeReactor: one reactor has more sockets than an address has ports.
func TestSourcesOfOneLargeReactor(t *testing.T) {
	s := planSources(loopback, nil, 1, 500_000, 0)[0]
	used := map[netip.AddrPort]bool{}
	for range 500_000 {
		used[s.take()] = true
	}
	if len(used) != 500_000 || len(s.addrs) != 13 {
		t.Errorf("%d sources of %d addresses", len(used), len(s.addrs))
	}
}

func TestSourcesThatWereGivenAreShared(t *testing.T) {
	given := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	used := map[netip.AddrPort]int{}
	for i, s := range planSources(netip.MustParseAddr("10.0.0.9"), given, 3, 1000, 0) {
		for range s.hi - s.lo {
			at := s.take()
			if old, taken := used[at]; taken {
				t.Fatalf("%s in reactors %d and %d", at, old, i)
			}
			used[at] = i
		}
		if s.next != s.lo {
			t.Error("does not begin anew")
		}
		for range 100 {
			s.jump(rand.New(rand.NewPCG(1, 2)))
			if s.next < s.lo || s.next >= s.hi {
				t.Fatal("has jumped to another's sources")
			}
		}
	}
	if len(used) != 2*portsAnAddr {
		t.Errorf("%d sources", len(used))
	}
}

// TestNoSources: outside the loopback network the kernel chooses.
func TestNoSources(t *testing.T) {
	for _, to := range []string{"10.0.0.9", "::1", "fd00::1"} {
		s := planSources(netip.MustParseAddr(to), nil, 2, 1000, 0)[1]
		if at := s.take(); at.IsValid() {
			t.Errorf("%s from %s", to, at)
		}
		s.jump(nil) // nothing to choose from
	}
}
