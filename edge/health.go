package edge

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"

	"megaphone/stats"
)

// standing is how many new sessions an origin gets, judged by the outcomes of its last ones.
type standing uint32

const (
	// It gets its share.
	// next: standingEjected (many failed), by way of standingTrial
	standingWell standing = iota
	// It gets none before health.until, then one as a trial.
	// next: standingTrial
	standingEjected
	// One trial is under way, and it gets no others.
	// next: standingEjected (it failed, or was not the last trial), standingWell
	standingTrial
)

// health is how an origin answers session creations, over all reactors. They change it without locks, like throttle.
//
// A creation has failed in each of these cases:
//   - The origin answered it with a status of 500 or more.
//   - It answered with a page that is not a BOSH body (200, 404, 405).
//   - It ended the session in the first reply for a reason that is the server's own (serversFault).
//   - It has not answered in create-timeout.
//
// A failure counts only if a session to the same domain was created at some origin lately. Clients that ask for a
// domain that no origin serves must not eject one, although ejabberd answers them with internal-server-error.
type health struct {
	throttle
	row            atomic.Uint32 // failures since the last success
	judged, failed atomic.Uint32 // over about the last judgeSpan
	judgedAt       atomic.Uint64 // microseconds: when they were last halved

	standing atomic.Uint32
	until    atomic.Uint64 // microseconds: when a trial may begin; with standingEjected
	passed   atomic.Uint32 // successful trials in a row
	times    atomic.Uint32 // consecutive ejections, each soon after the one before
	links    atomic.Int32  // that are up
	upAt     atomic.Uint64 // microseconds: start of slow-start; 0: it has its full share

	failures, ejections atomic.Uint64 // in all
}

const (
	ejectRow    = 5    // consecutive failures
	ejectJudged = 20   // creations at least, half of them failed
	judgeSpan   = 10e6 // microseconds
	edgeStart   = 10e6 // microseconds: an origin whose first link comes up earlier was there before the edge
	trials      = 3    // that must succeed
	maxDoubled  = 5    // times that the time of an ejection is doubled
	fullShare   = stats.FullShare
	leastShare  = 26 // a tenth
)

// linkUp counts a link. An origin that had none has just started, unless the edge itself has.
func (h *health) linkUp(now uint64) {
	if h.links.Add(1) == 1 && now > edgeStart {
		h.upAt.Store(now)
		h.until.Store(now) // an ejected origin gets a trial at once
		h.restart()
	}
}

func (h *health) linkDown() { h.links.Add(-1) }

// share returns the part of the weight that counts, in 1/fullShare. It grows over slow-start.
func (h *health) share(now uint64, b *creationBounds) uint32 {
	at := h.upAt.Load()
	if at == 0 {
		return fullShare
	}
	if age := since(at, now); age < b.slowStart {
		return max(leastShare, uint32(fullShare*age/b.slowStart))
	}
	return fullShare
}

func (h *health) is() standing { return standing(h.standing.Load()) }

// due reports whether a trial may begin.
func (h *health) due(now uint64) bool { return h.is() == standingEjected && now >= h.until.Load() }

// try claims the one trial that may run, and reports whether it did.
func (h *health) try(now uint64) bool {
	return h.due(now) && h.standing.CompareAndSwap(uint32(standingEjected), uint32(standingTrial))
}

// ill reports whether enough creations failed to eject the origin.
func (h *health) ill() bool {
	judged := h.judged.Load()
	return h.row.Load() >= ejectRow || judged >= ejectJudged && 2*h.failed.Load() >= judged
}

// judge counts the outcome of a creation.
func (h *health) judge(failed bool, now uint64) {
	if at := h.judgedAt.Load(); since(at, now) >= judgeSpan && h.judgedAt.CompareAndSwap(at, now) {
		h.judged.Store(h.judged.Load() / 2)
		h.failed.Store(h.failed.Load() / 2)
	}
	h.judged.Add(1)
	if !failed {
		h.row.Store(0)
		return
	}
	h.row.Add(1)
	h.failed.Add(1)
	h.failures.Add(1)
}

// eject ejects the origin for a time that doubles with each ejection soon after the last one. It reports whether the
// origin was well before, and returns the time in microseconds. No reactor may begin a trial before until is set, so
// the origin counts as on trial until then.
func (h *health) eject(now uint64, b *creationBounds, r *rand.Rand) (took uint64, ok bool) {
	if !h.standing.CompareAndSwap(uint32(standingWell), uint32(standingTrial)) {
		return 0, false
	}
	if h.share(now, b) == fullShare {
		h.times.Store(0)
	}
	h.ejections.Add(1)
	took = h.sentence(now, b, r)
	h.standing.Store(uint32(standingEjected))
	return took, true
}

// sentence sets until. Half of the time is fixed and half random, so that the edges of a site do not try in step.
func (h *health) sentence(now uint64, b *creationBounds, r *rand.Rand) uint64 {
	n := h.times.Add(1)
	half := b.ejectTime << min(n-1, maxDoubled) / 2
	took := half + r.Uint64N(half+1)
	h.passed.Store(0)
	h.row.Store(0)
	h.judged.Store(0)
	h.failed.Store(0)
	h.until.Store(now + took)
	return took
}

// endTrial ends a trial. It reports whether the origin is well again. took is the time of the next ejection if the
// trial failed.
func (h *health) endTrial(failed bool, now uint64, b *creationBounds, r *rand.Rand) (well bool, took uint64) {
	switch {
	case failed:
		took = h.sentence(now, b, r)
	case h.passed.Add(1) >= trials:
		h.row.Store(0)
		h.judged.Store(0)
		h.failed.Store(0)
		h.upAt.Store(now)
		h.standing.Store(uint32(standingWell))
		return true, 0
	}
	h.standing.CompareAndSwap(uint32(standingTrial), uint32(standingEjected))
	return false, took
}

// abandonTrial ends a trial without an outcome, because its client left.
func (h *health) abandonTrial() {
	h.standing.CompareAndSwap(uint32(standingTrial), uint32(standingEjected))
}

// served is the set of domains to which sessions were created lately, by their hashes. If two hashes collide, one
// domain is forgotten sooner. The seed is secret, so clients cannot choose domains that collide.
type served struct {
	seed  maphash.Seed
	words [servedWords]atomic.Uint64 // hash, its lowest bits replaced by the time in seconds
}

const (
	servedWords   = 1024
	servedTime    = 1<<20 - 1
	servedSeconds = 600
	servedAhead   = 60 // seconds that another reactor's last tick may be later
)

func (s *served) hash(domain []byte) uint64 { return maphash.Bytes(s.seed, domain) }

func (s *served) note(hash, now uint64) {
	s.words[hash%servedWords].Store(hash&^servedTime | now/1e6&servedTime)
}

func (s *served) lately(hash, now uint64) bool {
	w := s.words[hash%servedWords].Load()
	return w != 0 && (w^hash)&^servedTime == 0 && (now/1e6+servedAhead-w)&servedTime <= servedAhead+servedSeconds
}
