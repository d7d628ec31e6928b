package gateway

import "sync"

// Stats counts what a gateway has seen. Sockets to Sessions are as of now; the others only grow.
type Stats struct {
	Sockets  int64 // open, or being connected
	Idle     int64 // of those, without a request
	UnderWay int64 // requests
	Bytes    int64 // of requests and replies under way
	Down     int64 // endpoints
	Sessions int64 // whose requests are kept in order

	Requests int64 // of any kind
	Gone     int64 // aborted, because the client or the link went away
	Released int64 // given back because an edge asked for it
	Unwanted int64 // replies that came after that, or abortions that had their end
	Resent   int64 // requests that met a stale socket

	Away        int64 // got 503: their endpoint is down, and expected back
	Failed      int64 // got remote-connection-failed: it is not expected any more
	UnknownTags int64 // got item-not-found: the session ID names no endpoint of ours
	NoSocket    int64 // got 503: all sockets are in use
	NoMemory    int64 // got 503: too many bytes are under way

	Answered    int64 // how requests ended at the endpoint: with a reply,
	NotBOSH     int64 // with one that no BOSH client could read,
	NoneBehind  int64 // with a proxy's word that there is no server behind it,
	Unreachable int64 // without a connection,
	Broken      int64 // with a connection that ended before the whole reply,
	Late        int64 // with none in time,
	TooLarge    int64 // with one that was longer than it may be,
	LargeHead   int64 // with one whose head was longer than it may be,
	Aborted     int64 // or not at all

	Queued     int64 // requests that waited for their predecessors, or for those to be read
	Unpreceded int64 // of those, how many were sent without
	Fenced     int64 // replies that waited for the one before them to leave over another link
	Overtaken  int64 // replies that waited for those before them in vain
	Unread     int64 // replies that were not read at once, for want of room

	Probes int64 // of endpoints that were in doubt or down
	Downs  int64 // endpoints that were found down
}

// ended is the counter for a fate.
func (s *Stats) ended(f fate) *int64 {
	return [fates]*int64{&s.Answered, &s.NotBOSH, &s.NoneBehind, &s.Unreachable, &s.Broken, &s.Late, &s.TooLarge,
		&s.LargeHead, &s.Aborted}[f]
}

// published is the copy of Stats that other goroutines may read.
type published struct {
	mu    sync.Mutex
	stats Stats
}

// Stats returns the counters as of about 100 ms ago at most. Any goroutine may call it.
func (g *Gateway) Stats() Stats {
	g.published.mu.Lock()
	defer g.published.mu.Unlock()
	return g.published.stats
}

// publish makes the engine's counters visible.
func (g *Gateway) publish() {
	s := &g.stats
	open, idle := g.pool.count()
	s.Sockets, s.Idle, s.UnderWay, s.Down = int64(open), int64(idle), 0, 0
	s.Bytes = int64(g.bytes) + g.replies.inUse.Load()
	s.Unread = g.replies.waited.Load()
	s.Sessions = int64(len(g.order.sessions))
	for _, e := range g.endpoints {
		s.UnderWay += int64(e.held)
		if e.health == healthDown {
			s.Down++
		}
	}
	g.published.mu.Lock()
	g.published.stats = *s
	g.published.mu.Unlock()
}
