package link

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"time"
)

// door counts the connections of a server. Those that have not proved yet that they are an edge's wait there, apart
// from the links: there are few of them and their time is short, so that strangers take no place of an edge. When
// another one comes and all places are taken, the oldest goes of the address that has most of them.
//
// Invariant: a connection is in waiting, or counted in links, from enter until leave, which follows its closing.
type door struct {
	mu       sync.Mutex
	max      int     // that wait
	maxLinks int     // that have passed
	waiting  []*Link // oldest first
	from     map[netip.Addr]int
	links    int
	closed   bool

	refused [faults]int64   // connections that have not become links, by the reason
	records [faults]limiter // about them
}

func newDoor(cfg *Config) door {
	return door{max: cfg.MaxUnproved, maxLinks: cfg.MaxLinks, from: map[netip.Addr]int{}}
}

// enter takes a connection in, and returns the one that has to go for it. ok is false when nothing is taken any more.
func (d *door) enter(l *Link) (goes *Link, ok bool) {
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

// pass makes a connection that waits a link.
func (d *door) pass(l *Link) Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !l.waits: // another one has its place
		return FaultCrowded
	case l.sentAway.Load() != uint32(FaultNone):
		return FaultTimeout
	case d.links >= d.maxLinks:
		return FaultTooMany
	}
	d.find(l)
	d.links++
	l.through = true
	return FaultNone
}

// leave forgets a connection that has been closed.
func (d *door) leave(l *Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.through:
		d.links--
	case l.waits:
		d.find(l)
	}
}

// late returns those whose time is over, once each.
func (d *door) late(now, timeout int64) (over []*Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.waiting {
		if now-l.since >= timeout && l.sentAway.CompareAndSwap(uint32(FaultNone), uint32(FaultTimeout)) {
			over = append(over, l)
		}
	}
	return over
}

// close takes nothing any more, and returns those that wait.
func (d *door) close() []*Link {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return append([]*Link(nil), d.waiting...)
}

// refuse counts a connection that has not become a link, and reports whether it may be in the log, with how many of its
// kind there have been since the last record.
func (d *door) refuse(f Fault, now int64) (since int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[f]++
	if f == FaultNone || d.closed { // a health check, most likely; or ours was the end
		return 0, false
	}
	return d.records[f].due(now)
}

// refusals are the connections that have not become links, by the reason.
func (d *door) refusals() [faults]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// find takes l out of the list, which has it.
func (d *door) find(l *Link) {
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

// addressOf returns the address of a connection's other end, without its port.
func addressOf(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// sendAway closes a connection for another one, without a word. The kernel keeps nothing of it.
func (l *Link) sendAway() {
	l.sentAway.CompareAndSwap(uint32(FaultNone), uint32(FaultCrowded))
	if c, ok := l.conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	l.conn.Close()
}

// wakeReader ends what the reader waits for.
func (l *Link) wakeReader() { l.conn.SetReadDeadline(time.Unix(1, 0)) }

// refused counts a connection that has not become a link, and logs it now and then. It is called on its reader's
// goroutine.
func (s *Server) refused(l *Link, f Fault) {
	since, ok := s.door.refuse(f, s.clock.now())
	switch {
	case !ok:
	case l.found != "" || l.name == "" && f != FaultEarly && f != FaultPeer:
		s.log.Warn("no hello from edge", "address", l.conn.RemoteAddr(), "fault", f, "what", cmp.Or(l.found, "nothing"),
			"first_bytes", l.first, "since_last", since)
	default:
		s.log.Warn("edge refused", "edge", l.name, "address", l.conn.RemoteAddr(), "fault", f, "since_last", since)
	}
}
