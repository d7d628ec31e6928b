package limit

import (
	"hash/maphash"
	"sync/atomic"
	"unsafe"
)

const (
	ways      = 8
	countBits = 24
	countMask = 1<<countBits - 1

	// MaxCount is the maximum number of connections of one address that can be counted.
	MaxCount = countMask

	// entryBytes is the size of one entry; New makes entriesPerConnection of them for each connection.
	entryBytes           = 8 + 16
	entriesPerConnection = 4
)

// All of these fail to compile if the sizes change.
const (
	_ = uint(16 - unsafe.Sizeof(rates{}))
	_ = uint(unsafe.Sizeof(rates{}) - 16)
	_ = uint(64 - unsafe.Sizeof(set{}))
	_ = uint(unsafe.Sizeof(set{}) - 64)
)

// set is the words of eight entries: the owner's tag, 0 if never used, and its number of connections.
type set [ways]atomic.Uint64

// rates are the times, in microseconds, at which an entry's buckets are full again.
type rates struct{ opens, requests atomic.Uint64 }

// Table is the state of all addresses. It is safe for concurrent use.
type Table struct {
	seed  maphash.Seed
	who   []set
	rates []rates
}

// New returns a table for a number of connections.
func New(connections int) *Table {
	sets := (connections*entriesPerConnection + ways - 1) / ways
	return &Table{seed: maphash.MakeSeed(), who: make([]set, sets), rates: make([]rates, sets*ways)}
}

// Entry identifies the entries of a connection: the address's in the low half, the site's, if any, in the high half. 0
// means none.
type Entry uint64

func (e Entry) address() uint32 { return uint32(e) }
func (e Entry) site() uint32    { return uint32(e >> 32) }

// Key is the hash of an address, and of its site; 0: it has none.
type Key struct{ address, site hash }

type hash uint64

// Key hashes an address: IPv6, or IPv4 mapped into it.
func (t *Table) Key(a [16]byte) Key {
	if [12]byte(a[:12]) == [12]byte{10: 0xFF, 11: 0xFF} {
		return Key{address: hash(maphash.Bytes(t.seed, a[:]))}
	}
	return Key{hash(maphash.Bytes(t.seed, a[:8])), max(hash(maphash.Bytes(t.seed, a[:6])), 1)}
}

// tag returns the part of the key that an entry stores, never 0.
func (k hash) tag() uint64 { return max(uint64(k)>>countBits, 1) }

// set returns the index of the key's set.
func (t *Table) set(k hash) uint32 { return uint32(uint64(uint32(k)) * uint64(len(t.who)) >> 32) }

// Verdict is the decision about a new connection or a request.
type Verdict uint8

// The results of Open, Request and RequestOf.
const (
	Admitted  Verdict = iota
	Uncounted         // admitted, but all entries of its set, or of its site's, are in use
	TooMany           // the address has its maximum number of connections
	TooFast           // the address exceeds its rate of new connections, or of requests
	SiteLimit         // its site exceeds one of these
)

// Open counts a new connection of an address at a time in microseconds. The entry is for Close, unless it is 0.
func (t *Table) Open(k Key, now uint64, lim *Limits) (Entry, Verdict) {
	a, v := t.open(k.address, now, &lim.Address)
	if v != Admitted || k.site == 0 {
		return Entry(a), v
	}
	s, v := t.open(k.site, now, &lim.Site)
	if v == Admitted {
		return Entry(s)<<32 | Entry(a), v
	}
	t.close(a)
	lim.Address.Opens.giveBack(&t.rates[a-1].opens)
	if v != Uncounted {
		v = SiteLimit
	}
	return 0, v
}

// open counts a connection in one entry, and returns its number, from 1 on.
func (t *Table) open(k hash, now uint64, allowed *Allowance) (uint32, Verdict) {
	i, was, ok := t.claim(k, now, 1, allowed.connections())
	switch {
	case !ok:
		return 0, Uncounted
	case was >= allowed.connections():
		return 0, TooMany
	}
	if !allowed.Opens.Take(&t.rates[i].opens, now) {
		t.close(i + 1)
		return 0, TooFast
	}
	return i + 1, Admitted
}

// Close undoes the count of Open.
func (t *Table) Close(e Entry) {
	t.close(e.address())
	if s := e.site(); s != 0 {
		t.close(s)
	}
}

func (t *Table) close(n uint32) {
	i := n - 1
	if t.who[i/ways][i%ways].Add(^uint64(0))&countMask == countMask {
		panic("limit: Close of an uncounted connection")
	}
}

// Forget resets the rates of every address. It is for a change of limits: an old bucket may be far more exhausted than
// a new one can be, and would shut its address out for that long. It may be called while the table is in use.
func (t *Table) Forget() {
	for i := range t.rates {
		t.rates[i].opens.Store(0)
		t.rates[i].requests.Store(0)
	}
}

// Request decides about one more request now of the address whose entry a connection has.
func (t *Table) Request(e Entry, now uint64, lim *Limits) Verdict {
	a := &t.rates[e.address()-1].requests
	if !lim.Address.Requests.Take(a, now) {
		return TooFast
	}
	if s := e.site(); s != 0 && !lim.Site.Requests.Take(&t.rates[s-1].requests, now) {
		lim.Address.Requests.giveBack(a)
		return SiteLimit
	}
	return Admitted
}

// RequestOf is Request for an address whose connection, if it has one, is unknown. A request that cannot be counted is
// admitted.
func (t *Table) RequestOf(k Key, now uint64, lim *Limits) Verdict {
	i, _, counted := t.claim(k.address, now, 0, countMask)
	if counted && !lim.Address.Requests.Take(&t.rates[i].requests, now) {
		return TooFast
	}
	if k.site == 0 {
		return Admitted
	}
	j, _, ok := t.claim(k.site, now, 0, countMask)
	if !ok || lim.Site.Requests.Take(&t.rates[j].requests, now) {
		return Admitted
	}
	if counted {
		lim.Address.Requests.giveBack(&t.rates[i].requests)
	}
	return SiteLimit
}

// claim finds or makes the entry of k, and adds n to its connections if they were fewer than most. was is the previous
// number. ok is false if there is no entry, and none can be made.
func (t *Table) claim(k hash, now uint64, n, most uint64) (i uint32, was uint64, ok bool) {
	s, tag := t.set(k), k.tag()
	for {
		w, old, found := t.look(s, tag, now)
		if !found && w < 0 {
			return 0, 0, false
		}
		i, was = s*ways+uint32(w), old&countMask
		word := &t.who[s][w]
		switch {
		case found && (was >= most || n == 0):
			return i, was, true
		case found:
			if word.CompareAndSwap(old, old+n) {
				return i, was, true
			}
		case word.CompareAndSwap(old, tag<<countBits|n):
			r := &t.rates[i]
			if r.opens.Load() > now || r.requests.Load() > now { // the idlest was reused
				r.opens.Store(0)
				r.requests.Store(0)
			}
			return i, 0, true
		}
		// Another thread has changed the word in the meantime.
	}
}

// look finds the entry of tag in set s, or else the best entry to reuse: -1 if there is none. old is its word.
func (t *Table) look(s uint32, tag, now uint64) (w int, old uint64, found bool) {
	w = -1
	var rest uint64 // when the best so far comes to rest
	for j := range ways {
		word := t.who[s][j].Load()
		switch {
		case word>>countBits == tag:
			return j, word, true
		case word&countMask != 0:
			continue
		}
		r := &t.rates[s*ways+uint32(j)]
		if until := max(r.opens.Load(), r.requests.Load(), now); w < 0 || until < rest {
			w, old, rest = j, word, until
		}
	}
	return w, old, false
}
