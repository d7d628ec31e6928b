package gateway

import "sync"

// Stats holds the counters of a gateway. Sockets to Sessions are current values; the others only increase.
type Stats struct {
	Sockets  int64 // open or connecting
	Idle     int64 // of those, without a request
	UnderWay int64 // requests
	Bytes    int64 // of requests and replies in progress
	Down     int64 // endpoints
	Sessions int64 // whose requests are kept in order

	Requests int64 // of any kind
	Gone     int64 // aborted because the client or the link went away
	Released int64 // given back because an edge asked for it
	Unwanted int64 // replies that came after that, and completed abortions
	Resent   int64 // requests that met a stale socket

	Away        int64 // got 503: the endpoint is down and expected back
	Failed      int64 // got remote-connection-failed: the endpoint is no longer expected back
	UnknownTags int64 // got item-not-found: the session ID names no configured endpoint
	NoSocket    int64 // got 503: all sockets are in use
	NoMemory    int64 // got 503: too many bytes are buffered

	Answered    int64 // how requests ended at the endpoint: with a reply,
	NotBOSH     int64 // with one that no BOSH client could read,
	NoneBehind  int64 // with a proxy's report that its server is unreachable,
	Unreachable int64 // without a connection,
	Broken      int64 // with a connection that ended before the whole reply,
	Late        int64 // with none in time,
	TooLarge    int64 // with one above the size limit,
	LargeHead   int64 // with one whose head was above the size limit,
	Aborted     int64 // or aborted

	Queued     int64 // requests that waited for their predecessors to arrive or be read
	Unpreceded int64 // of those, sent without a predecessor
	Fenced     int64 // replies that waited for an earlier one to leave over another link
	Overtaken  int64 // replies that waited for earlier ones in vain
	Excused    int64 // replies that were empty instead of item-not-found, because a newer request came first
	Unread     int64 // replies whose reading was delayed because there was no room

	Probes int64 // of doubtful or down endpoints
	Downs  int64 // endpoints found down
}

// ended returns the counter of a fate.
func (s *Stats) ended(f fate) *int64 {
	return [fates]*int64{&s.Answered, &s.NotBOSH, &s.NoneBehind, &s.Unreachable, &s.Broken, &s.Late, &s.TooLarge,
		&s.LargeHead, &s.Aborted}[f]
}

// published is the copy of Stats that other goroutines may read.
type published struct {
	mu    sync.Mutex
	stats Stats
}

// Stats returns the counters, at most about 100 ms old. Any goroutine may call it.
func (g *Gateway) Stats() Stats {
	g.published.mu.Lock()
	defer g.published.mu.Unlock()
	return g.published.stats
}

// publish copies the engine's counters for Stats.
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
