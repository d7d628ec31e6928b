package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const second = 1_000_000

func v4(n uint32) (a [16]byte) {
	a[10], a[11] = 0xFF, 0xFF
	binary.BigEndian.PutUint32(a[12:], n)
	return a
}

func v6(net uint64, host uint64) (a [16]byte) {
	binary.BigEndian.PutUint64(a[:], net)
	binary.BigEndian.PutUint64(a[8:], host)
	return a
}

func TestKeys(t *testing.T) {
	tab := New(10)
	same := func(a, b [16]byte) bool { return tab.Key(a) == tab.Key(b) }
	switch {
	case same(v4(1), v4(2)):
		t.Error("two IPv4 addresses are one")
	case !same(v6(1, 1), v6(1, 1<<63)):
		t.Error("two addresses of a /64 are two")
	case same(v6(1, 1), v6(2, 1)):
		t.Error("two networks are one")
	case same(v6(0, 0), v4(0)):
		t.Error("::/64 and IPv4 are one")
	case New(10).Key(v4(1)) == tab.Key(v4(1)):
		t.Error("two tables have the same seed")
	}
}

func TestConnections(t *testing.T) {
	tab, lim := New(100), Limits{Address: Allowance{Connections: 3}}
	k := tab.Key(v4(1))
	var open []Entry
	for range 3 {
		e, v := tab.Open(k, 0, &lim)
		if v != Admitted || e == 0 {
			t.Fatal(v)
		}
		open = append(open, e)
	}
	if e, v := tab.Open(k, 0, &lim); v != TooMany || e != 0 {
		t.Errorf("the fourth of three: %v", v)
	}
	if _, v := tab.Open(tab.Key(v4(2)), 0, &lim); v != Admitted {
		t.Errorf("another address: %v", v)
	}
	tab.Close(open[0])
	if _, v := tab.Open(k, 0, &lim); v != Admitted {
		t.Errorf("after one has gone: %v", v)
	}
	tab.Close(open[1])
	tab.Close(open[2])
	tab.Close(open[0])
	defer func() {
		if recover() == nil {
			t.Error("closing more than there are does not panic")
		}
	}()
	tab.Close(open[0])
}

func TestRates(t *testing.T) {
	tab, lim := New(100), Limits{Address: Allowance{Opens: NewRate(10, 5), Requests: NewRate(2, 3)}}
	k, now := tab.Key(v4(1)), uint64(77*second)
	opens := func() (n int) {
		for range 100 {
			e, v := tab.Open(k, now, &lim)
			if v == TooFast {
				continue
			}
			n++
			tab.Close(e)
		}
		return n
	}
	requests := func() (n int) {
		for range 100 {
			if tab.RequestOf(k, now, &lim) == Admitted {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		after           uint64
		opens, requests int
	}{
		{0, 5, 3}, {0, 0, 0}, {second / 10, 1, 0}, {second * 4 / 10, 4, 1}, {second / 2, 5, 1}, {3600 * second, 5, 3},
		{second / 20, 0, 0}, {second / 20, 1, 0},
	} {
		now += step.after
		if o, r := opens(), requests(); o != step.opens || r != step.requests {
			t.Errorf("%v later: %d connections, %d requests; not %d, %d",
				time.Duration(step.after)*time.Microsecond, o, r, step.opens, step.requests)
		}
	}
	e, v := tab.Open(tab.Key(v4(2)), now, &lim)
	request := func() bool { return tab.Request(e, now, &lim) == Admitted }
	if v != Admitted || !request() || tab.RequestOf(tab.Key(v4(2)), now, &lim) != Admitted || !request() || request() {
		t.Error("a connection and its address have not the same bucket")
	}
	none := Limits{}
	if none.Address.Opens.Limited() || none.Site.Requests.Limited() || tab.Request(e, now, &none) != Admitted {
		t.Error("no limit is one")
	}
}

// model is the same with a map, and no bound on memory. Addresses and sites have different hashes.
type model struct {
	conns           map[hash]int
	at              map[hash]*rates
	opens, requests history
}

func (m *model) of(k hash) *rates {
	if m.at[k] == nil {
		m.at[k] = new(rates)
	}
	return m.at[k]
}

// count records a connection, or its end, for an address and its site.
func (m *model) count(k Key, n int) {
	m.conns[k.address] += n
	if k.site != 0 {
		m.conns[k.site] += n
	}
}

// open returns the result of Table.Open if it forgets nothing.
func (m *model) open(k Key, now uint64, lim *Limits) Verdict {
	a := m.of(k.address)
	switch {
	case m.conns[k.address] >= lim.Address.Connections:
		return TooMany
	case !lim.Address.Opens.Take(&a.opens, now):
		return TooFast
	case k.site == 0:
		return Admitted
	}
	if m.conns[k.site] >= lim.Site.Connections || !lim.Site.Opens.Take(&m.of(k.site).opens, now) {
		lim.Address.Opens.giveBack(&a.opens)
		return SiteLimit
	}
	return Admitted
}

// request returns the result of Table.Request if it forgets nothing.
func (m *model) request(k Key, now uint64, lim *Limits) Verdict {
	a := m.of(k.address)
	switch {
	case !lim.Address.Requests.Take(&a.requests, now):
		return TooFast
	case k.site == 0 || lim.Site.Requests.Take(&m.of(k.site).requests, now):
		return Admitted
	}
	lim.Address.Requests.giveBack(&a.requests)
	return SiteLimit
}

// grounds reports whether a verdict is justified, whatever has been forgotten.
func (m *model) grounds(v Verdict, k Key, now uint64, lim *Limits, opens bool) bool {
	h, burst, a, s := m.requests, requestsBurst, lim.Address.Requests, lim.Site.Requests
	if opens {
		h, burst, a, s = m.opens, opensBurst, lim.Address.Opens, lim.Site.Opens
	}
	switch v {
	case TooMany:
		return m.conns[k.address] >= lim.Address.Connections
	case TooFast:
		return h.full(k.address, now, burst, a)
	case SiteLimit:
		return k.site != 0 && (opens && m.conns[k.site] >= lim.Site.Connections || h.full(k.site, now, 2*burst, s))
	}
	return true
}

// history is the times at which each address, or site, was admitted.
type history map[hash][]uint64

func (h history) pass(k Key, now uint64) {
	h[k.address] = append(h[k.address], now)
	if k.site != 0 {
		h[k.site] = append(h[k.site], now)
	}
}

// full reports whether an address has used up a burst within the time in which one event comes back. Only that
// justifies a refusal, whatever has been forgotten.
func (h history) full(k hash, now uint64, burst int, r Rate) bool {
	n := 0
	for _, at := range h[k] {
		if at+r.slack+r.interval > now {
			n++
		}
	}
	return n >= burst
}

// TestModel: with enough room the table agrees with a map. A small table refuses no address without reason, and never
// forgets a connection.
func TestModel(t *testing.T) {
	for _, test := range []struct {
		connections, addresses int
		exact                  bool
	}{{100_000, 30, true}, {4, 60, false}, {40, 60, false}} {
		runModel(t, test.connections, test.addresses, test.exact)
	}
}

// For the model test: a site may do twice as much as an address.
const opensBurst, requestsBurst = 8, 10

// someone returns an IPv4 or IPv6 address; those of IPv6 are in three sites.
func someone(r *rand.Rand, addresses int) [16]byte {
	n := r.Uint64N(uint64(addresses))
	if n%2 == 0 {
		return v4(uint32(n))
	}
	return v6(n%3<<16|n, r.Uint64())
}

type modelConn struct {
	k Key
	e Entry
}

// countOf returns the number of connections of all addresses and sites together.
func countOf(open []modelConn) (n int) {
	for _, c := range open {
		if n++; c.k.site != 0 {
			n++
		}
	}
	return n
}

func runModel(t *testing.T, connections, addresses int, exact bool) {
	const most = 2
	seed, tab := rand.Uint64(), New(connections)
	r := rand.New(rand.NewPCG(seed, 1))
	lim := Limits{Allowance{most, NewRate(5, opensBurst), NewRate(20, requestsBurst)},
		Allowance{2 * most, NewRate(10, 2*opensBurst), NewRate(40, 2*requestsBurst)}}
	m := model{map[hash]int{}, map[hash]*rates{}, history{}, history{}}
	var open []modelConn
	now, said := uint64(1), map[Verdict]int{}
	request := func(k Key, got Verdict) {
		if exact {
			if want := m.request(k, now, &lim); got != want {
				t.Fatalf("seed %d: a request: %v, not %v", seed, got, want)
			}
		} else if !m.grounds(got, k, now, &lim, false) {
			t.Fatalf("seed %d: a request: %v without a ground", seed, got)
		}
		if got == Admitted {
			m.requests.pass(k, now)
		}
		said[got]++
	}
	for range 50_000 {
		k := tab.Key(someone(r, addresses))
		switch r.IntN(8) {
		case 0, 1:
			e, got := tab.Open(k, now, &lim)
			if exact {
				if want := m.open(k, now, &lim); got != want {
					t.Fatalf("seed %d: %v, not %v", seed, got, want)
				}
			} else if !m.grounds(got, k, now, &lim, true) {
				t.Fatalf("seed %d: %v without a ground", seed, got)
			}
			said[got]++
			if (e != 0) != (got == Admitted) {
				t.Fatalf("seed %d: %v, entry %d", seed, got, e)
			}
			if e != 0 {
				m.count(k, 1)
				m.opens.pass(k, now)
				open = append(open, modelConn{k, e})
			}
		case 2:
			if n := len(open); n > 0 && (r.IntN(4) == 0 || n > 2*addresses) {
				i := r.IntN(n)
				c := open[i]
				open[i], open = open[n-1], open[:n-1]
				m.count(c.k, -1)
				tab.Close(c.e)
			}
		case 3, 4, 5:
			request(k, tab.RequestOf(k, now, &lim))
		case 6:
			if n := len(open); n > 0 {
				c := open[r.IntN(n)]
				request(c.k, tab.Request(c.e, now, &lim))
			}
		case 7:
			now += r.Uint64N(second / 100)
		}
	}
	if got, want := counted(tab), countOf(open); got != want {
		t.Errorf("seed %d: %d connections are counted, of %d addresses and sites", seed, got, want)
	}
	if exact && (said[TooMany]*said[TooFast]*said[SiteLimit] == 0 || said[Uncounted] > 0) ||
		connections < 10 && said[Uncounted] == 0 {
		t.Errorf("seed %d: the verdicts were %v: the test does not reach all it is for", seed, said)
	}
}

// counted returns the number of connections in the table.
func counted(t *Table) (sum int) {
	for s := range t.who {
		for w := range t.who[s] {
			sum += int(t.who[s][w].Load() & countMask)
		}
	}
	return sum
}

// TestThreads: the limits do not depend on the number of reactors that an address's connections are spread over.
func TestThreads(t *testing.T) {
	const threads, rounds, most, addresses = 8, 20_000, 5, 6
	tab, lim := New(64), Limits{Address: Allowance{Connections: most, Requests: NewRate(1000, 50)}}
	var now [addresses]atomic.Int64
	var taken atomic.Int64
	var all sync.WaitGroup
	for i := range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			r := rand.New(rand.NewPCG(uint64(i), 2))
			for range rounds {
				a := r.Uint32N(addresses)
				k := tab.Key(v4(a))
				e, v := tab.Open(k, 1, &lim)
				if v == TooMany {
					continue
				}
				if n := now[a].Add(1); n > most {
					t.Errorf("%d connections at once", n)
				}
				if a == 0 && tab.Request(e, 1, &lim) == Admitted {
					taken.Add(1)
				}
				now[a].Add(-1)
				tab.Close(e)
			}
		}()
	}
	all.Wait()
	if n := counted(tab); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	if n := taken.Load(); n != 50 {
		t.Errorf("%d requests of a burst of 50", n)
	}
}

// TestAsManyAddressesAsConnections: at most one in a hundred is not counted; two, if each has its own site.
func TestAsManyAddressesAsConnections(t *testing.T) {
	const n = 50_000
	for _, test := range []struct {
		address func(i uint32) [16]byte
		most    int
	}{{v4, n / 100}, {func(i uint32) [16]byte { return v6(uint64(i)<<16, 1) }, n / 50}} {
		tab, uncounted := New(n), 0
		for i := range uint32(n) {
			if _, v := tab.Open(tab.Key(test.address(i)), 0, &Limits{}); v == Uncounted {
				uncounted++
			}
		}
		t.Logf("%d of %d addresses are not counted", uncounted, n)
		if uncounted > test.most {
			t.Errorf("%d of %d addresses are not counted", uncounted, n)
		}
	}
}

// TestSite: the networks of an IPv6 /48 share limits, and refusals by those do not count against an address.
func TestSite(t *testing.T) {
	one := Allowance{Connections: 2, Opens: NewRate(1, 10), Requests: NewRate(1, 2)}
	tab, lim := New(1000), Limits{one, Allowance{Connections: 5, Opens: NewRate(1, 30), Requests: NewRate(1, 5)}}
	const now = second
	var open []Entry
	verdicts := map[Verdict]int{}
	for n := range uint64(4) {
		for range 3 {
			e, v := tab.Open(tab.Key(v6(7<<16|n, 1)), now, &lim)
			if verdicts[v]++; e != 0 {
				open = append(open, e)
			}
		}
	}
	if verdicts[Admitted] != 5 || verdicts[TooMany] != 2 || verdicts[SiteLimit] != 5 {
		t.Errorf("connections: %v", verdicts)
	}
	if _, v := tab.Open(tab.Key(v6(8<<16, 1)), now, &lim); v != Admitted {
		t.Errorf("another site: %v", v)
	}
	clear(verdicts)
	for range 3 {
		for _, e := range open {
			verdicts[tab.Request(e, now, &lim)]++
		}
		verdicts[tab.RequestOf(tab.Key(v6(7<<16|9, 1)), now, &lim)]++
	}
	if verdicts[Admitted] != 5 || verdicts[SiteLimit] == 0 {
		t.Errorf("requests: %v", verdicts)
	}
	for _, e := range open {
		tab.Close(e)
	}
	last := tab.Key(v6(7<<16|3, 1)) // its site refused it three times, so its own burst is whole
	for i := range 10 {
		e, v := tab.Open(last, now, &lim)
		if v != Admitted {
			t.Fatalf("opening %d: %v", i, v)
		}
		tab.Close(e)
	}
	if _, v := tab.Open(last, now, &lim); v != TooFast {
		t.Errorf("beyond its burst: %v", v)
	}
	if n := counted(tab); n != 2 { // those of the other site
		t.Errorf("%d connections are left", n)
	}
}

// TestFlood: a million short-lived addresses do not evict an address with a connection, and its refusal persists.
func TestFlood(t *testing.T) {
	tab, lim := New(1000), Limits{Address: Allowance{Connections: 1}}
	k := tab.Key(v4(0))
	e, _ := tab.Open(k, 0, &lim)
	for i := range uint32(1_000_000) {
		if o, _ := tab.Open(tab.Key(v4(i+1)), uint64(i), &lim); o != 0 {
			tab.Close(o)
		}
	}
	if _, v := tab.Open(k, second, &lim); v != TooMany {
		t.Errorf("%v", v)
	}
	tab.Close(e)
}

func TestAllocatesNothing(t *testing.T) {
	allowed := Allowance{Connections: 2, Opens: NewRate(10, 10), Requests: NewRate(10, 10)}
	tab, lim := New(1000), Limits{allowed, allowed}
	i := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		k := tab.Key(v4(i % 100))
		if e, _ := tab.Open(k, uint64(i), &lim); e != 0 {
			tab.Request(e, uint64(i), &lim)
			tab.Close(e)
		}
		k = tab.Key(v6(uint64(i), 1))
		if e, _ := tab.Open(k, uint64(i), &lim); e != 0 {
			tab.Request(e, uint64(i), &lim)
			tab.Close(e)
		}
		tab.RequestOf(k, uint64(i), &lim)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOpenClose(b *testing.B) {
	tab, lim := New(100_000), Limits{Address: Allowance{Connections: 100, Opens: NewRate(MaxRate, 1000)}}
	for i := uint32(0); b.Loop(); i++ {
		if e, _ := tab.Open(tab.Key(v4(i*2654435761)), uint64(i), &lim); e != 0 {
			tab.Close(e)
		}
	}
}

func BenchmarkOpenCloseOfSite(b *testing.B) {
	allowed := Allowance{Connections: MaxCount, Opens: NewRate(MaxRate, 1<<40)}
	tab, lim := New(100_000), Limits{allowed, allowed}
	for i := uint32(0); b.Loop(); i++ {
		if e, _ := tab.Open(tab.Key(v6(uint64(i*2654435761), 1)), uint64(i), &lim); e != 0 {
			tab.Close(e)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	tab, lim := New(100_000), Limits{Address: Allowance{Connections: 100, Requests: NewRate(MaxRate, 1000)}}
	e, _ := tab.Open(tab.Key(v4(1)), 0, &lim)
	for i := uint64(0); b.Loop(); i++ {
		tab.Request(e, i, &lim)
	}
}

func BenchmarkRequestOf(b *testing.B) {
	tab, lim := New(100_000), Limits{Address: Allowance{Requests: NewRate(MaxRate, 1000)}}
	for i := uint32(0); b.Loop(); i++ {
		tab.RequestOf(tab.Key(v4(i*2654435761)), uint64(i), &lim)
	}
}
