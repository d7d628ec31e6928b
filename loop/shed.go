package loop

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"

	"megaphone/stats"
)

const (
	// firstBytes is the part of each buffer that large buffers cannot crowd out. It is more than most requests need.
	firstBytes = 4 << 10

	// shedShare is the fraction of a bound (one in shedShare) that shedding frees at once. Clients must send that much
	// again before the next scan of the buffers, so a scan is cheap compared with the bytes received.
	shedShare = 16
)

// reserve returns the part of MaxBufferedBytes that only the first bytes of buffers may use: those of all connections,
// and a quarter at most.
func reserve(slots, maxBuffered int) int { return min(slots*firstBytes, maxBuffered/4) }

// relieve keeps the buffers within their bounds. It is called when no buffer is borrowed.
func (r *Reactor) relieve() {
	b := &r.bufs
	if b.large > r.maxLarge {
		r.shed(firstBytes, &b.large, r.maxLarge)
	}
	if b.bytes > r.maxBuffered {
		r.shed(0, &b.bytes, r.maxBuffered)
	}
}

// weight is a buffer with the bytes of it that count.
type weight struct {
	client       uint64
	bytes        int   // the bytes that count
	size         int   // of the buffer, at least firstBytes: differences below that are accidental
	served       uint8 // not 0 if the connection has had output
	serial       uint64
	buffer, conn uint32
}

// account sums the buffers of one client, which begin at next in a list of weights. The largest comes first. Among
// small buffers those of connections that have not been served yet come first, and of these the oldest, because a
// request's remaining bytes usually follow soon after its first ones.
type account struct{ next, bytes int }

// accounts is a heap with the heaviest account on top.
type accounts []account

func (a accounts) Len() int           { return len(a) }
func (a accounts) Less(i, j int) bool { return a[i].bytes > a[j].bytes }
func (a accounts) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }

// Push and Pop are never called.
func (a accounts) Push(any) {}
func (a accounts) Pop() any { return nil }

// shed gives up buffers until *used is well below most: repeatedly the first buffer of the heaviest client. The first
// free bytes of each buffer do not count.
func (r *Reactor) shed(free int, used *int, most int) {
	before := *used
	list := r.weigh(free)
	all := accountsOf(list)
	heap.Init(all)
	var first netip.Addr
	shed := 0
	for *used > most-most/shedShare && len(all) > 0 && all[0].bytes > 0 {
		top := &all[0]
		w := list[top.next]
		if shed == 0 {
			first = netip.AddrFrom16(r.handler.Client(w.conn)).Unmap()
		}
		if r.giveUp(w.conn, w.buffer) {
			shed++
		}
		top.next, top.bytes = top.next+1, top.bytes-w.bytes
		heap.Fix(all, 0)
	}
	if shed > 0 {
		r.LogLimited(&r.pressure, slog.LevelWarn, "largest requests refused: max-buffered-bytes", "connections", shed,
			"freed_bytes", before-*used, "heaviest", first.String())
	}
}

// weigh lists the buffers with more than free bytes, grouped by client. It also frees the buffers of connections that
// ended in this turn.
func (r *Reactor) weigh(free int) (list []weight) {
	for i := range r.bufs.slots {
		b := &r.bufs.slots[i]
		if b.billed == 0 {
			continue
		}
		s := r.conns.At(b.conn)
		if state(s.State) == stateEnding {
			r.dropBuffers(s)
			r.bufs.charge(b, 0) // a stowed buffer is freed at the end of the turn
			continue
		}
		if b.billed > free {
			list = append(list, weight{clientKey(r.handler.Client(b.conn)), b.billed - free, max(b.billed, firstBytes),
				s.Flags & flagServed, b.serial, uint32(i), b.conn})
		}
	}
	slices.SortFunc(list, func(a, b weight) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(b.size, a.size), cmp.Compare(a.served, b.served),
			cmp.Compare(a.serial, b.serial))
	})
	return list
}

func accountsOf(list []weight) (all accounts) {
	for i, w := range list {
		if i == 0 || w.client != list[i-1].client {
			all = append(all, account{next: i})
		}
		all[len(all)-1].bytes += w.bytes
	}
	return all
}

// clientKey identifies a client by its IPv4 address, or by the first 48 bits of its IPv6 address, the size of one site.
func clientKey(a [16]byte) uint64 {
	if [12]byte(a[:12]) == [12]byte{10: 0xFF, 11: 0xFF} {
		return 1<<63 | uint64(binary.BigEndian.Uint32(a[12:]))
	}
	return binary.BigEndian.Uint64(a[:8]) >> 16
}

// giveUp frees a buffer of connection c now or at the end of the turn. The owner may answer the connection; if it does
// not release the buffer, the connection is closed. giveUp reports whether the owner answered or the connection was
// closed.
func (r *Reactor) giveUp(c, buffer uint32) bool {
	s, b := r.conns.At(c), r.bufs.at(buffer)
	if b.billed == 0 || b.conn != c || s.In != buffer && s.Out != buffer && !b.stowed {
		return false // freed with the connection's other buffers
	}
	switch {
	case state(s.State) == stateEnding:
		r.bufs.charge(b, 0) // it is stowed
		return false
	case state(s.State) == stateLingering && s.In == buffer:
		r.dropInput(s) // the connection has its answer already
		return false
	case state(s.State) == stateOpen && s.In == buffer:
		r.handler.Shed(c)
	}
	r.counters[stats.OverBudget]++
	if s.In == buffer || s.Out == buffer || b.stowed {
		r.end(c, CauseBudget)
		r.dropBuffers(s)
		r.bufs.charge(r.bufs.at(buffer), 0)
	}
	return true
}
