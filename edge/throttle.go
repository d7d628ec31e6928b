package edge

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/config"
	"megaphone/limit"
)

// throttle bounds the session creations that are under way at one origin, over all reactors. It measures how many fit.
//
// The bound grows while creations are answered about as fast as at their fastest. It is cut when more than half of them
// take more than twice as long plus slackMicros. By Little's law, the cut leaves a little less than what the origin
// works on, or half a queue of slackMicros if that is more. So an origin has a queue of about its own length, or of
// slackMicros. It runs dry neither at a cut nor when the machine stalls for a moment.
//
// If fewer creations take the same time as before the cut, their number was not the reason, and this is the new
// measure. Now and then it lets only a few begin, to measure again how fast they are without a queue. A bound that is
// not reached falls, so an origin that suddenly stops answering gets few. (See Brakmo, TCP Vegas; Cardwell, BBR;
// Netflix's concurrency-limits.)
//
// Reactors change its fields without waiting for each other, because a reactor that the kernel takes off its core must
// not stall the others. Only adapt has a lock, and a reactor that does not get it moves on.
type throttle struct {
	underWay atomic.Int32
	most     atomic.Int32  // the measured bound; 0: not measured yet
	rated    atomic.Uint64 // see limit.Rate
	progress atomic.Uint64 // microseconds: when a creation was last answered, or the first one began
	refused  atomic.Bool   // a creation found it full since the last adapt
	outdated atomic.Bool   // the measurements are from before a restart

	replies, slow atomic.Uint32 // replies since the last adapt, and how many of them were slow
	sum           atomic.Uint64 // microseconds of the replies
	long          atomic.Uint64 // microseconds: a reply that takes longer is slow; 0: none is
	quiet         atomic.Uint64 // until then replies belong to creations from before the bound was changed

	adapting sync.Mutex
	steady   bool          // it has been too much once: the bound now grows slowly
	cut      uint64        // microseconds: the mean for which the bound has just been cut; 0: it has not
	probing  int32         // the bound from before the current probe of the floor; 0: no probe
	floor    uint64        // microseconds: the shortest mean
	floorAt  uint64        // when it was measured
	usedAt   atomic.Uint64 // microseconds: when a bound above firstCreations was last needed
}

const (
	firstCreations = 8     // under way at an unmeasured origin
	fewReplies     = 8     // fewer replies tell nothing
	slackMicros    = 35e3  // what a busy machine adds, and users do not notice
	floorSpan      = 30e6  // microseconds; an older floor is measured again
	maxQuiet       = 5e6   // microseconds
	loginMicros    = 1e6   // microseconds from a creation to the end of its log-in, roughly
	probeMicros    = 200e3 // microseconds that a probe of the floor takes
	growShare      = 16    // a steady bound grows by 1/growShare
	stallMicros    = 2e6   // a creation that waits longer, with no other answered meanwhile, is a bad sign
	burstPart      = 5     // 1/burstPart of a second's creations may come at once, because time moves in ticks
)

// since returns the time from at to now, in microseconds. at may be later than now, because reactors tick one after the
// other. It returns 0 then.
func since(at, now uint64) uint64 { return now - min(at, now) }

// creationBounds is the part of the configuration that concerns creations.
type creationBounds struct {
	least, most int32
	rate        limit.Rate
	interval    uint64 // microseconds per creation at the configured rate; 0: no rate
	slowStart   uint64 // microseconds
	ejects      bool
	ejectTime   uint64 // microseconds
}

func newCreationBounds(cfg *config.Values) creationBounds {
	b := creationBounds{least: int32(cfg.MinCreations), most: int32(cfg.MaxCreations),
		rate:      limit.NewRate(cfg.CreationRate, cfg.CreationRate/burstPart+1),
		slowStart: uint64(cfg.SlowStart / time.Microsecond),
		ejects:    cfg.Ejection, ejectTime: uint64(cfg.EjectTime / time.Microsecond)}
	if cfg.CreationRate > 0 {
		b.interval = uint64(time.Second/time.Microsecond) / uint64(cfg.CreationRate)
	}
	return b
}

// bound returns how many creations may be under way.
func (t *throttle) bound(b *creationBounds) int32 {
	most := t.most.Load()
	if most == 0 {
		most = firstCreations
	}
	return min(max(most, b.least), b.most)
}

// room reports whether one more creation may begin, without taking its place.
func (t *throttle) room(now uint64, b *creationBounds) bool {
	if t.underWay.Load() >= t.bound(b) {
		t.refused.Store(true)
		return false
	}
	return b.rate.Has(&t.rated, now)
}

// take counts a creation that begins. It reports whether there is room.
func (t *throttle) take(now uint64, b *creationBounds) bool {
	for {
		n := t.underWay.Load()
		if n >= t.bound(b) {
			t.refused.Store(true)
			return false
		}
		if t.underWay.CompareAndSwap(n, n+1) {
			if n == 0 {
				t.progress.Store(now)
			}
			break
		}
	}
	if b.rate.Take(&t.rated, now) {
		return true
	}
	t.underWay.Add(-1)
	return false
}

// give counts a creation that has ended.
func (t *throttle) give() { t.underWay.Add(-1) }

// answered counts a reply that took that many microseconds.
func (t *throttle) answered(took, now uint64) {
	t.progress.Store(now)
	t.observe(took, now)
}

func (t *throttle) observe(took, now uint64) {
	if now < t.quiet.Load() {
		return
	}
	t.replies.Add(1)
	t.sum.Add(took)
	if long := t.long.Load(); long > 0 && took > long {
		t.slow.Add(1)
	}
}

// stalled reports whether creations are under way but none was answered within stallMicros.
func (t *throttle) stalled(now uint64) bool {
	at := t.progress.Load()
	return t.underWay.Load() > 0 && since(at, now) > stallMicros
}

// restart forgets the measurements, because the origin has restarted and its caches are cold.
func (t *throttle) restart() {
	t.most.Store(0)
	t.long.Store(0)
	t.outdated.Store(true)
}

// adapt changes the bound if enough creations were answered since the last change.
func (t *throttle) adapt(now uint64, b *creationBounds) {
	if most := t.most.Load(); most > firstCreations && since(t.usedAt.Load(), now) > floorSpan {
		t.most.CompareAndSwap(most, firstCreations) // too old to rely on
	}
	if t.replies.Load() < fewReplies || now < t.quiet.Load() || !t.adapting.TryLock() {
		return
	}
	defer t.adapting.Unlock()
	n, slow := uint64(t.replies.Swap(0)), uint64(t.slow.Swap(0))
	mean := max(t.sum.Swap(0)/max(n, 1), 1)
	if t.outdated.Swap(false) {
		t.steady, t.cut, t.probing, t.floor = false, 0, 0, 0
	}
	t.usedAt.Store(now)
	most, quiet := t.bound(b), 2*mean
	wanted := t.refused.Swap(false)
	probed := t.probing != 0
	inVain := 2*slow > n && t.cut > 0 && 4*mean > 3*t.cut // fewer take as long: their number is not the reason
	if probed || inVain {
		t.floor = 0
	}
	t.lower(mean, now)
	t.cut = 0
	switch stale := since(t.floorAt, now) >= floorSpan; {
	case probed:
		most, t.probing = t.probing, 0
	case inVain:
		t.steady = false
	case 2*slow > n:
		t.steady, t.cut, quiet = true, mean, max(quiet, loginMicros)
		most = min(most/2, part(most, max(t.floor*7/8, (t.floor+slackMicros)/2), mean))
	case !wanted:
		if most -= max(1, most/growShare); most <= firstCreations {
			t.steady, most = false, firstCreations
		}
	case stale && mean > t.floor:
		t.probing, quiet = most, max(quiet, probeMicros)
		most = part(most, t.floor*7/8, mean)
	case t.steady:
		most += max(1, most/growShare)
	default:
		most *= 2
	}
	t.most.Store(min(max(most, b.least), b.most))
	t.quiet.Store(now + min(quiet, maxQuiet))
}

// part returns how many creations take wanted microseconds at the same rate if most of them take mean (Little's law).
func part(most int32, wanted, mean uint64) int32 {
	return int32(min(uint64(most)*wanted/mean, math.MaxInt32))
}

// lower takes a shorter mean as the floor, and sets long.
func (t *throttle) lower(mean, now uint64) {
	if t.floor == 0 || mean <= t.floor {
		t.floor, t.floorAt = mean, now
	}
	t.long.Store(2*t.floor + slackMicros)
}
