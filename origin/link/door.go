package link

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"
)

// door counts the connections of a server. It keeps those that have not yet proved to be an edge's in a list of their
// own, apart from the links. The list is short and its entries expire soon, so strangers cannot take the places of
// edges. If the list is full, a new connection evicts the oldest one of the address that has the most entries.
//
// Invariant: from enter until leave, which follows the close, a connection is either in waiting or counted in links.
type door struct {
	mu       sync.Mutex
	max      int         // limit of waiting
	maxLinks int         // limit of links
	waiting  []*edgeLink // oldest first
	from     map[netip.Addr]int
	links    int
	closed   bool

	refused [faults]int64   // connections that never became links, by reason
	records [faults]limiter // bound the log records about them
}

func newDoor(cfg *Config) door {
	return door{max: cfg.MaxUnproved, maxLinks: cfg.MaxLinks, from: map[netip.Addr]int{}}
}

// enter adds a connection and returns the one that it evicts, if any. ok is false if the door is closed.
func (d *door) enter(l *edgeLink) (goes *edgeLink, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false
	}
	if len(d.waiting) >= d.max {
		at, most := 0, 0
		for i, w := range d.waiting {
			if n := d.from[w.from]; n > most {
				at, most = i, n
			}
		}
		goes = d.waiting[at]
		d.remove(at)
	}
	l.waits = true
	d.waiting = append(d.waiting, l)
	d.from[l.from]++
	return goes, true
}

// pass turns a waiting connection into a link.
func (d *door) pass(l *edgeLink) fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !l.waits: // a newer connection has evicted it
		return faultCrowded
	case l.sentAway.Load() != uint32(faultNone):
		return faultTimeout
	case d.links >= d.maxLinks:
		return faultTooMany
	}
	d.unlist(l)
	d.links++
	l.through = true
	return faultNone
}

// leave removes a closed connection.
func (d *door) leave(l *edgeLink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.through:
		d.links--
	case l.waits:
		d.unlist(l)
	}
}

// late returns each connection that has exceeded its time, once.
func (d *door) late(now, timeout int64) (over []*edgeLink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.waiting {
		if now-l.since >= timeout && l.sentAway.CompareAndSwap(uint32(faultNone), uint32(faultTimeout)) {
			over = append(over, l)
		}
	}
	return over
}

// close refuses all further connections and returns those that still wait.
func (d *door) close() []*edgeLink {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return append([]*edgeLink(nil), d.waiting...)
}

// refuse counts a connection that did not become a link. It reports whether to log it, and returns the number of its
// kind since the last record.
func (d *door) refuse(f fault, now int64) (since int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[f]++
	if f == faultNone || d.closed { // probably a health check, or this server is stopping
		return 0, false
	}
	return d.records[f].due(now)
}

// refusals returns the number of connections that did not become links, by reason.
func (d *door) refusals() [faults]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// unlist removes l from waiting, which must contain it.
func (d *door) unlist(l *edgeLink) {
	for i, w := range d.waiting {
		if w == l {
			d.remove(i)
			return
		}
	}
}

func (d *door) remove(i int) {
	l := d.waiting[i]
	l.waits = false
	if d.from[l.from]--; d.from[l.from] == 0 {
		delete(d.from, l.from)
	}
	left := copy(d.waiting[i:], d.waiting[i+1:])
	d.waiting[i+left] = nil
	d.waiting = d.waiting[:i+left]
}

// addressOf returns the peer's address without its port.
func addressOf(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// sendAway evicts a connection without an explanation. The reset leaves no state in the kernel.
func (l *edgeLink) sendAway() {
	l.sentAway.CompareAndSwap(uint32(faultNone), uint32(faultCrowded))
	conn := l.conn
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn() // close_notify could block
	}
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	conn.Close()
}

// wakeReader interrupts the reader's pending read.
func (l *edgeLink) wakeReader() { l.conn.SetReadDeadline(time.Unix(1, 0)) }

// refused counts a connection that did not become a link, and logs it at a bounded rate. It runs on the reader's
// goroutine.
func (s *Server) refused(l *edgeLink, f fault) {
	since, ok := s.door.refuse(f, s.clock.now())
	switch {
	case !ok:
	case l.found != "" || l.name == "" && f != faultEarly && f != faultPeer:
		s.log.Warn("no hello from edge", "address", l.conn.RemoteAddr(), "fault", f, "what", cmp.Or(l.found, "nothing"),
			"first_bytes", l.first, "since_last", since)
	default:
		s.log.Warn("edge refused", "edge", l.name, "address", l.conn.RemoteAddr(), "fault", f, "since_last", since)
	}
}
