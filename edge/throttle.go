package edge

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/limit"
)

// throttle bounds the session creations that are under way at one origin, over all reactors. How many fit, it measures.
// As long as creations are answered about as fast as at their fastest, the bound grows. When more than half of them
// take more than twice as long, and slackMicros, the bound is cut by Little's law to what the origin works on, a little
// less, or to half a queue of slackMicros if that is more. If fewer of them take as long as before it was not their
// number, and this is the new measure. So an origin has a queue of about its own length, or of slackMicros, and runs
// dry neither at a cut nor when the machine stands still for a moment. From time to time a few creations show anew how
// fast they are without a queue. A bound that is not reached falls, so that an origin which suddenly answers nothing
// gets few. (See Brakmo, TCP Vegas; Cardwell, BBR; Netflix's concurrency-limits.)
//
// It is words that reactors change without waiting for each other: a reactor that the kernel takes off its core must
// not hold up the others. Only adapt has a lock, and a reactor that does not get it goes on.
type throttle struct {
	underWay atomic.Int32
	most     atomic.Int32  // the measured bound; 0: not measured yet
	rated    atomic.Uint64 // see limit.Rate
	progress atomic.Uint64 // microseconds: when a creation was last answered, or the first one began
	refused  atomic.Bool   // a creation found it full since the last adapt
	fresh    atomic.Bool   // what was measured is of before a restart

	replies, slow atomic.Uint32 // what was answered since the last adapt, and what of it took long
	sum           atomic.Uint64 // microseconds of the replies
	long          atomic.Uint64 // microseconds: what takes more than this takes long; 0: nothing does
	quiet         atomic.Uint64 // until then replies are to creations from before the bound was changed

	adapting sync.Mutex
	steady   bool          // it has been too much once: from now on the bound grows slowly
	cut      uint64        // microseconds: the mean for which the bound has just been cut; 0: it has not
	probing  int32         // the bound from before a probe of the floor that is being made; 0: none is
	floor    uint64        // microseconds: the shortest mean
	floorAt  uint64        // when it was measured
	usedAt   atomic.Uint64 // microseconds: when a bound above firstCreations was last of use
}

const (
	firstCreations = 8     // under way at an origin of which nothing is known
	fewReplies     = 8     // less say nothing
	slackMicros    = 50e3  // what a busy machine adds, and users do not notice
	floorSpan      = 30e6  // microseconds; a floor is measured anew when it is older
	maxQuiet       = 5e6   // microseconds
	loginMicros    = 1e6   // microseconds that a log-in takes behind its creation, more or less
	probeMicros    = 200e3 // that a probe of the floor takes
	growShare      = 16    // a steady bound grows by this part
	stallMicros    = 2e6   // a creation that waits for longer, with no other answered meanwhile, is a bad sign
	burstPart      = 5     // of a second's creations may come at once: time moves in ticks
)

// since returns the time from at to now, in microseconds. Reactors tick one after the other, so what one has noted may
// be later than the time of another.
func since(at, now uint64) uint64 { return now - min(at, now) }

// creationBounds is what the configuration says of creations.
type creationBounds struct {
	least, most int32
	rate        limit.Rate
	interval    uint64 // microseconds that one takes by the rate; 0: there is none
	slowStart   uint64 // microseconds
	ejects      bool
	ejectTime   uint64 // microseconds
}

func newCreationBounds(cfg *Config) creationBounds {
	b := creationBounds{least: int32(cfg.MinCreations), most: int32(cfg.MaxCreations),
		rate:      limit.NewRate(cfg.CreationRate, cfg.CreationRate/burstPart+1),
		slowStart: uint64(cfg.SlowStart / time.Microsecond),
		ejects:    cfg.Ejection == "on", ejectTime: uint64(cfg.EjectTime / time.Microsecond)}
	if cfg.CreationRate > 0 {
		b.interval = uint64(time.Second/time.Microsecond) / uint64(cfg.CreationRate)
	}
	return b
}

// bound is how many creations may be under way.
func (t *throttle) bound(b *creationBounds) int32 {
	most := t.most.Load()
	if most == 0 {
		most = firstCreations
	}
	return min(max(most, b.least), b.most)
}

// room reports whether one more creation may begin, as far as can be said without taking it.
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

// answered counts a reply that took so many microseconds.
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

// stalled reports whether nothing has been answered for a while although something is under way.
func (t *throttle) stalled(now uint64) bool {
	at := t.progress.Load()
	return t.underWay.Load() > 0 && since(at, now) > stallMicros
}

// restart forgets what the origin could do: it was started anew, and its caches are cold.
func (t *throttle) restart() {
	t.most.Store(0)
	t.long.Store(0)
	t.fresh.Store(true)
}

// adapt changes the bound by what was answered since the last time, if that is enough to tell.
func (t *throttle) adapt(now uint64, b *creationBounds) {
	if most := t.most.Load(); most > firstCreations && since(t.usedAt.Load(), now) > floorSpan {
		t.most.CompareAndSwap(most, firstCreations) // it is too old to be relied on
	}
	if t.replies.Load() < fewReplies || now < t.quiet.Load() || !t.adapting.TryLock() {
		return
	}
	defer t.adapting.Unlock()
	n, slow := uint64(t.replies.Swap(0)), uint64(t.slow.Swap(0))
	mean := max(t.sum.Swap(0)/max(n, 1), 1)
	if t.fresh.Swap(false) {
		t.steady, t.cut, t.probing, t.floor = false, 0, 0, 0
	}
	t.usedAt.Store(now)
	most, quiet, cut := t.bound(b), 2*mean, t.cut
	wanted := t.refused.Swap(false)
	t.lower(mean, now)
	t.cut = 0
	switch stale := since(t.floorAt, now) >= floorSpan; {
	case t.probing != 0:
		most, t.probing, t.floor = t.probing, 0, 0
		t.lower(mean, now)
	case 2*slow > n && cut > 0 && 4*mean > 3*cut: // fewer of them take as long: it is not their number
		t.steady, t.floor = false, 0
		t.lower(mean, now)
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

// part is the number of creations that take wanted microseconds if most of them take mean (Little's law), at the same
// rate.
func part(most int32, wanted, mean uint64) int32 {
	return int32(min(uint64(most)*wanted/mean, math.MaxInt32))
}

// lower takes a mean for the floor if it is shorter, and works out what takes long.
func (t *throttle) lower(mean, now uint64) {
	if t.floor == 0 || mean <= t.floor {
		t.floor, t.floorAt = mean, now
	}
	t.long.Store(2*t.floor + slackMicros)
}
