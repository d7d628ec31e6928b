package link

import "sync"

// Stats holds the counters of a server. Links, Live and Streams are current values; all others only increase.
type Stats struct {
	Links   int64 // links that have been welcomed
	Live    int64 // live ids of requests on all links
	Streams int64 // live streams on all links

	Accepted     int64 // connections
	Welcomed     int64
	Ended        [faults]int64 // links and connections, by Fault
	FramesIn     int64
	FramesOut    int64
	BytesIn      int64
	BytesOut     int64
	Reads        int64 // batches
	Writes       int64
	Requests     int64
	Replies      int64
	Gone         int64
	StaleGone    int64 // gone or release for an id that was not live, because the reply crossed it
	StaleReplies int64 // replies to an id that was not live
	Opened       int64 // streams
	MessagesIn   int64 // of streams
	MessagesOut  int64
	Credits      int64 // sent
	StaleStream  int64 // frames and credits for a stream that was not live, because its end crossed them
	TooLarge     int64 // replies above the edge's limit, replaced by status 500
	UnknownVerbs int64
	Fences       int64 // pings sent as fences
	AcceptErrors int64
}

// published is the copy of Stats that other goroutines may read.
type published struct {
	mu    sync.Mutex
	stats Stats
}

// Stats returns the counters as of the last tick, at most about 100 ms ago. Any goroutine may call it.
func (s *Server) Stats() Stats {
	s.published.mu.Lock()
	defer s.published.mu.Unlock()
	return s.published.stats
}

// publish copies the engine's counters for Stats.
func (s *Server) publish() {
	st := s.stats
	st.BytesOut, st.Writes = s.bytesOut.Load(), s.writes.Load()
	for f, n := range s.door.refusals() {
		st.Ended[f] += n
	}
	st.Accepted, st.AcceptErrors = s.accepted.Load(), s.acceptErrors.Load()
	s.published.mu.Lock()
	s.published.stats = st
	s.published.mu.Unlock()
}
