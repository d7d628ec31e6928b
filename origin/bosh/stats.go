package bosh

import "sync"

// stats holds the counters of an engine. All but Sessions only increase.
type stats struct {
	Sessions int64 // open now
	Created  int64
	Refused  int64 // by the service, at the limit, or during a shutdown

	Requests int64 // of any kind
	Payloads int64 // passed to the service
	Replies  int64 // of any kind, including errors
	Carried  int64 // replies with payloads

	Waited    int64 // times that payloads waited for earlier ones to leave on another link
	Crowded   int64 // times that payloads waited for room on a link
	Overtaken int64 // of Waited, those in vain: no answer within maxFenceMillis

	Early          int64 // requests that came before an older one
	Repeated       int64 // requests answered again with a kept reply
	Reattached     int64 // requests that replaced the same one on another connection
	Gone           int64 // held requests whose client went away
	Released       int64 // requests answered because an edge asked for it
	Expired        int64 // requests answered because their wait time was over
	Inactive       int64 // sessions ended by inactivity
	Terminated     int64 // sessions ended by their client
	ByService      int64 // sessions ended by the service
	QueueOverflows int64 // of those, because too much was queued for the client
	UnknownSID     int64

	BadRequest, ItemNotFound, PolicyViolation int64 // sessions and requests ended with that condition
}

// published is the copy of Stats that other goroutines may read.
type published struct {
	mu    sync.Mutex
	stats stats
}

func (p *published) set(s *stats) {
	p.mu.Lock()
	p.stats = *s
	p.mu.Unlock()
}

// figures returns the counters as of the last Tick. Any goroutine may call it.
func (e *Engine) figures() stats {
	e.published.mu.Lock()
	defer e.published.mu.Unlock()
	return e.published.stats
}
