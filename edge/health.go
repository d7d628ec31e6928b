package edge

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
)

// standing is what new sessions an origin gets, by what became of the last ones.
type standing uint32

const (
	// Its share of them.
	// next: standingEjected (many failed)
	standingWell standing = iota
	// None before health.until; then one, as a trial.
	// next: standingTrial
	standingEjected
	// One is under way as a trial; no further ones.
	// next: standingEjected (it failed, or was not the last trial), standingWell
	standingTrial
)

// health is what all reactors together know of how an origin answers session creations. They change it without locks,
// like throttle.
//
// A creation has failed if the origin answered it with a status of 500 or more, or ended the session in the first reply
// for a reason that is the server's own (serversFault), or has not answered in create-timeout. A failure counts only if
// a session to the same domain was created at some origin lately: clients that ask for a domain that no origin serves
// do not make one look ill, although ejabberd answers them with internal-server-error.
type health struct {
	throttle
	row            atomic.Uint32 // failures since the last success
	judged, failed atomic.Uint32 // of about the last judgeSpan
	judgedAt       atomic.Uint64 // microseconds: when they were last halved

	standing atomic.Uint32
	until    atomic.Uint64 // microseconds; with standingEjected
	passed   atomic.Uint32 // trials
	times    atomic.Uint32 // ejections of which the next one was soon after
	links    atomic.Int32  // that are up
	upAt     atomic.Uint64 // microseconds: since when it is to get a growing share; 0: it has all of it

	failures, ejections atomic.Uint64 // in all
}

const (
	ejectRow    = 5    // failures one after the other
	ejectJudged = 20   // of so many creations
	judgeSpan   = 10e6 // microseconds
	edgeStart   = 10e6 // microseconds: an origin whose first link comes up before has been there
	trials      = 3    // that must succeed
	maxDoubled  = 5    // times that the time of an ejection is doubled
	fullShare   = 256
	leastShare  = 26 // a tenth
)

// linkUp counts a link. An origin that had none has just started, unless it is the edge that has.
func (h *health) linkUp(now uint64) {
	if h.links.Add(1) == 1 && now > edgeStart {
		h.upAt.Store(now)
		h.until.Store(now) // if it is ejected, a trial will tell
		h.restart()
	}
}

func (h *health) linkDown() { h.links.Add(-1) }

// share is the part of its weight that counts, in 1/fullShare: it grows over slow-start.
func (h *health) share(now uint64, b *creationBounds) uint32 {
	at := h.upAt.Load()
	if at == 0 {
		return fullShare
	}
	if age := now - min(at, now); age < b.slowStart {
		return max(leastShare, uint32(fullShare*age/b.slowStart))
	}
	return fullShare
}

func (h *health) is() standing { return standing(h.standing.Load()) }

// due reports whether a trial may be made.
func (h *health) due(now uint64) bool { return h.is() == standingEjected && now >= h.until.Load() }

// try takes the one trial that there may be.
func (h *health) try(now uint64) bool {
	return h.due(now) && h.standing.CompareAndSwap(uint32(standingEjected), uint32(standingTrial))
}

// ill reports whether so many creations failed that the origin should get none.
func (h *health) ill() bool {
	judged := h.judged.Load()
	return h.row.Load() >= ejectRow || judged >= ejectJudged && 2*h.failed.Load() >= judged
}

// judge counts a creation that is answered, or is not going to be.
func (h *health) judge(failed bool, now uint64) {
	if at := h.judgedAt.Load(); now-at >= judgeSpan && h.judgedAt.CompareAndSwap(at, now) {
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

// eject gives the origin no new sessions for a time that doubles with each ejection soon after the last one. It reports
// whether the origin was well before, and for how long it is ejected, in microseconds.
func (h *health) eject(now uint64, b *creationBounds, r *rand.Rand) (took uint64, ok bool) {
	if !h.standing.CompareAndSwap(uint32(standingWell), uint32(standingEjected)) {
		return 0, false
	}
	if h.share(now, b) == fullShare {
		h.times.Store(0)
	}
	h.ejections.Add(1)
	return h.sentence(now, b, r), true
}

// sentence sets until: half of the time for sure, half by chance, so that the edges of a site do not try in step.
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

// verdictOf ends a trial. It reports whether the origin is well again; took is the time of the ejection if it failed.
func (h *health) verdictOf(failed bool, now uint64, b *creationBounds, r *rand.Rand) (well bool, took uint64) {
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

// untried ends a trial that says nothing, as its client left.
func (h *health) untried() {
	h.standing.CompareAndSwap(uint32(standingTrial), uint32(standingEjected))
}

// served remembers the domains to which sessions were created lately, by their hashes. Where two meet, one is forgotten
// sooner. The seed is secret, so clients cannot choose domains that meet.
type served struct {
	seed  maphash.Seed
	words [servedWords]atomic.Uint64 // hash, less its lowest bits, which are the time in seconds
}

const (
	servedWords   = 1024
	servedTime    = 1<<20 - 1
	servedSeconds = 600
)

func (s *served) hash(domain []byte) uint64 { return maphash.Bytes(s.seed, domain) }

func (s *served) note(hash, now uint64) {
	s.words[hash%servedWords].Store(hash&^servedTime | now/1e6&servedTime)
}

func (s *served) lately(hash, now uint64) bool {
	w := s.words[hash%servedWords].Load()
	return w != 0 && (w^hash)&^servedTime == 0 && (now/1e6-w)&servedTime <= servedSeconds
}
