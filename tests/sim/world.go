//go:build sim

package sim

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"megaphone/loop/sys"
)

// world is one history: edges, origins and clients on one kernel.
type world struct {
	k    *sys.Kernel
	seed uint64
	swarm
	edges     []*instance // all that run, the oldest first
	sites     []*site
	origins   []*origin
	clients   []*client
	streamers []*streamer
	calmed    time.Duration // when the last fault ended
	pests     int
	quiet     bool          // no more faults
	closing   bool          // clients leave
	parted    time.Duration // when the last client was seen
	jumped    time.Duration // the time in which nothing happened
}

// Failure is a history in which something is wrong.
type Failure struct {
	Seed  uint64
	At    time.Duration
	What  string
	Trace string // the last steps
}

// Error returns one line.
func (f *Failure) Error() string {
	return fmt.Sprintf("SIM_SEEDS=%d: after %.3f s: %s", f.Seed, f.At.Seconds(), f.What)
}

// Result is what a history contained.
type Result struct {
	Time  time.Duration
	Steps uint64
	Sum   uint64 // the same for each run of the seed

	Gentle                                int // histories without a fault that a client may notice
	Sessions, Streams, Requests, Messages int
	Kills, Takeovers, Drains, Reloads     int
	Restarts, Removals, Cuts, Pests       int
}

func (r *Result) add(o *Result) {
	r.Time += o.Time
	r.Steps += o.Steps
	r.Sum ^= o.Sum
	r.Gentle += o.Gentle
	r.Sessions += o.Sessions
	r.Streams += o.Streams
	r.Requests += o.Requests
	r.Messages += o.Messages
	r.Kills += o.Kills
	r.Takeovers += o.Takeovers
	r.Drains += o.Drains
	r.Reloads += o.Reloads
	r.Restarts += o.Restarts
	r.Removals += o.Removals
	r.Cuts += o.Cuts
	r.Pests += o.Pests
}

// settled is the time in which the first links come up.
const settled = 10 * time.Second

// gentle reports whether nothing went wrong that a client may notice: system calls are short or interrupted, events
// come in any order, and no limit is near.
func (w *world) gentle() bool {
	f, c := &w.faults, &w.config
	return w.troubleEvery == 0 && f.Accept+f.Socket+f.Watch+f.Late+w.stallChance == 0 && w.creation == 0 &&
		w.big == 0 && // sockets may be small, and links then slow
		c.MaxConnections == roomy && c.MaxCreations == 0 && c.LinkHighWater+c.MaxBufferedBytes == 0 &&
		w.k.Now() > settled
}

// mayFail reports whether origins may fail creations.
func (w *world) mayFail() bool { return w.refusal > 0 || slices.Contains(w.troubles, "origin broken") }

// cutsOff reports whether edges may have ended connections in the middle of a response.
func (w *world) cutsOff() bool {
	return w.result.Kills+w.result.Drains+w.result.Takeovers > 0 || w.faults.Watch > 0 || w.config.MaxBufferedBytes > 0
}

// broken is the panic of a world in which something is wrong.
type broken string

func (w *world) fail(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

// Run lives through the history of a seed.
func Run(seed uint64) (result Result, failure *Failure) { return run(seed, func(*swarm) {}) }

// run is Run with a change of the swarm.
func run(seed uint64, change func(s *swarm)) (result Result, failure *Failure) {
	w := &world{k: sys.NewKernel(seed), seed: seed}
	defer func() {
		if what := recover(); what != nil {
			f := &Failure{Seed: seed, At: w.k.Now(), What: fmt.Sprint(what), Trace: w.k.History(HistoryLines)}
			if _, ok := what.(broken); !ok {
				f.What = fmt.Sprintf("panic: %v", what)
				f.Trace += string(debug.Stack())
			}
			failure = f
		}
		result = w.result
		result.Time, result.Steps, result.Sum = w.k.Now()-w.jumped, w.k.Steps(), w.k.Sum()
	}()
	w.swarm = draw(w.k)
	change(&w.swarm)
	w.populate()
	w.until(w.faulty, func() bool { return false })
	w.calm()
	w.until(w.patience(), w.satisfied)
	w.checkSatisfied()
	if w.gentle() {
		w.result.Gentle++
	}
	w.part()
	return
}

// until runs the world for d, or until done reports true.
func (w *world) until(d time.Duration, done func() bool) {
	end := w.k.Now() + d
	for i := 0; w.k.Now() < end; i++ {
		if i%64 == 0 && done() {
			return
		}
		w.k.Step()
	}
}

func address(network, host int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(network), byte(host >> 8), byte(host)})
}

func (w *world) populate() {
	w.k.Faults = w.faults
	for i := range w.numOrigins {
		w.origins = append(w.origins, newOrigin(w, i))
	}
	for i := range w.numSites {
		w.sites = append(w.sites, newSite(w, i))
	}
	for i := range w.numClients {
		c := newClient(w, i)
		w.clients = append(w.clients, c)
		w.k.After(w.k.Upto(w.arrival), c.start)
	}
	for i := range w.numStreamers {
		c := newStreamer(w, i)
		w.streamers = append(w.streamers, c)
		w.k.After(w.k.Upto(w.arrival), c.start)
	}
	if w.pestEvery > 0 {
		w.k.After(w.k.Upto(w.pestEvery), w.sendPests)
	}
	if w.troubleEvery > 0 {
		w.k.After(w.k.Upto(2*w.troubleEvery), w.trouble)
	}
}

// trouble lets something large happen, and again after a while.
func (w *world) trouble() {
	if w.quiet {
		return
	}
	w.k.After(w.k.Upto(2*w.troubleEvery), w.trouble)
	kind := w.troubles[w.k.Rand.IntN(len(w.troubles))]
	w.k.Trace("trouble", 0, 0, 0, kind)
	o, s := w.origins[w.k.Rand.IntN(len(w.origins))], w.sites[w.k.Rand.IntN(len(w.sites))]
	switch kind {
	case "origin restarts":
		o.restart(w.k.Upto(w.outage))
	case "origin stalls":
		o.stall(w.k.Upto(w.outage))
	case "links reset":
		o.resetLinks()
	case "links cut":
		o.cut(w.k.Upto(w.outage))
	case "origin drains":
		o.drain()
	case "origin errs":
		o.err()
	case "edge killed":
		s.kill()
	case "edge drains":
		s.replace(false)
	case "takeover":
		s.replace(true)
	case "successor fails":
		s.failedTakeover()
	case "reload":
		s.reload()
	case "origin removed":
		s.removeOrigin()
	case "origin set aside":
		s.setAside(o, true)
	case "origin broken":
		o.broken = w.k.Now() + w.k.Upto(2*w.outage)
	case "crowd":
		for range 100 + w.k.Rand.IntN(300) {
			w.sendPest(s)
		}
	case "edge stalls":
		s.serving.stall(w.k.Upto(5 * time.Second))
	case "time jumps":
		d := w.k.Upto(3 * time.Second)
		if w.k.Chance(0.1) {
			d = w.k.Upto(time.Hour) // the machine slept
		}
		w.k.Jump(d)
		w.jumped += d
	case "clients cut":
		w.cutClients()
	case "clients vanish":
		w.loseClients()
	default:
		panic("no such trouble: " + kind)
	}
}

// cutClients lets nothing pass between some clients and edges for a while.
func (w *world) cutClients() {
	for _, c := range w.clients {
		if w.k.Chance(0.3) {
			c.cut()
		}
	}
	for _, c := range w.streamers {
		if c.at != nil && w.k.Chance(0.3) {
			c.at.end.Cut()
			w.k.After(w.k.Upto(w.outage), c.at.end.Mend)
		}
	}
}

// loseClients ends connections of some clients without a word to the edges.
func (w *world) loseClients() {
	for _, c := range w.clients {
		if w.k.Chance(0.2) {
			c.vanish()
		}
	}
	for _, c := range w.streamers {
		if t := c.at; t != nil && w.k.Chance(0.3) {
			t.end.Cut()
			c.ended(t)
		}
	}
}

// calm ends all faults.
func (w *world) calm() {
	w.k.Trace("calm", 0, 0, 0, "")
	w.quiet, w.calmed = true, w.k.Now()
	w.k.Faults = sys.Faults{Latency: w.faults.Latency}
	for _, o := range w.origins {
		o.heal()
	}
	for _, c := range w.clients {
		c.heal()
	}
	for _, c := range w.streamers {
		if c.at != nil {
			c.at.end.Mend()
		}
	}
	for _, s := range w.sites {
		s.heal()
		s.reload()
	}
}

// patience is how long a satisfied world may take to come about.
func (w *world) patience() time.Duration { return w.hold + w.wait + 150*time.Second }

// satisfied reports whether each client has had all its messages delivered.
func (w *world) satisfied() bool {
	for _, c := range w.clients {
		if c.complaint() != "" {
			return false
		}
	}
	for _, c := range w.streamers {
		if c.complaint() != "" {
			return false
		}
	}
	return true
}

func (w *world) checkSatisfied() {
	for _, c := range w.streamers {
		if why := c.complaint(); why != "" {
			w.fail("streamer %d is not served %.0f s after the last fault: %s", c.id, w.patience().Seconds(), why)
		}
	}
	for _, c := range w.clients {
		if why := c.complaint(); why != "" {
			w.fail("client %d is not served %.0f s after the last fault: %s", c.id, w.patience().Seconds(), why)
		}
	}
}

// empty reports whether no edge has had clients for a while.
func (w *world) empty() bool {
	for _, in := range w.edges {
		if in.draining || in.edge.Left().Clients > 0 {
			w.parted = w.k.Now()
		}
	}
	return w.k.Now() > w.parted+5*time.Second
}

// part lets all clients leave, and looks for traces of them.
func (w *world) part() {
	w.closing, w.parted = true, w.k.Now()
	w.k.Trace("part", 0, 0, 0, "")
	for _, c := range w.clients {
		c.leave()
	}
	for _, c := range w.streamers {
		c.leave()
	}
	w.until(w.hold+w.config.IdleTimeout+90*time.Second, w.empty)
	for _, s := range w.sites {
		s.checkEmpty()
	}
	for _, o := range w.origins {
		if n := o.live(); n > 0 {
			w.fail("origin %d has %d requests whose clients have left", o.id, n)
		}
	}
	for _, s := range w.sites {
		s.stop()
	}
	if len(w.edges) > 0 {
		w.fail("%d drained edges still run", len(w.edges))
	}
}

// HistoryLines is the length of a failure's trace.
var HistoryLines = 60
