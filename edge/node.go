package edge

import (
	"bytes"
	"slices"

	"megaphone/codec"
	"megaphone/loop"
)

// MaxOrigins bounds the nodes of one edge: each reactor has a link to each of them.
const MaxOrigins = 60

const _ = uint(64 - MaxOrigins) // a bit each

// linksFor returns how many links a reactor may have to origins at once: each of them twice, because those of a reload
// are dialled while the old ones are closed, and as many as there may be where DNS decides.
func linksFor(origins []Origin) int {
	if slices.ContainsFunc(origins, func(o Origin) bool { return o.discovered() }) {
		return 2 * MaxOrigins
	}
	return 2 * len(origins)
}

// MaxWeight bounds an origin's weight. A sum of them, and one times the held requests, fits in its integer.
const MaxWeight = 65535

// stage is how far a link has come.
type stage uint8

const (
	// next: stageGreeting (connected)
	stageDown stage = iota
	// Waits for the origin's hello.
	// next: stageProving (hello came and was answered), stageDown
	stageGreeting
	// Waits for welcome.
	// next: stageUp, stageDown
	stageProving
	// Requests may be sent.
	// next: stageDown
	stageUp
)

// node is one origin as one reactor sees it.
type node struct {
	cfg        *place
	tag        [codec.TagBytes]byte
	link       *loop.Link
	stage      stage
	draining   bool   // the origin wants no new sessions
	leaving    bool   // the settings have no place for it
	aside      bool   // Edge.SetDraining says that it gets none
	held       int    // requests it has and has not answered
	creating   int    // session creations among them
	bit        uint64 // of its place, in sets of nodes
	weight     uint32 // of use while pick draws
	away       int    // requests that wait for it, or for their 503 because it was lost
	share      int    // of those that wait, how many go on in a tick
	returned   int    // clients that were answered in this tick because it was lost
	queue      waitQueue
	max        int        // the largest contents it takes
	takesQuery bool       // in requests
	lostAt     uint32     // tick since which it is not up
	heardAt    uint32     // tick of the last bytes from it
	pinged     bool       // since then
	inquired   bool       // its silence before hello is being looked into
	asked      bool       // a ping is on its way of which the pong is to be measured
	pongs      int        // bytes of pongs since the link is above the high-water mark
	pingedAt   uint32     // tick of the last ping
	pingSent   uint32     // the same in Reactor.Micros; of use while asked
	secret     []byte     // that this handshake is made with
	handshake  *handshake // with a secret, while stageProving

	health   *health // shared by the reactors
	trialLog loop.Interval

	board     *loop.Board
	latency   histogram // of session creations
	roundTrip histogram // of pings
}

func newNode(p *place, l *loop.Link, now uint32) *node {
	return &node{cfg: p, health: p.health, tag: codec.NodeTag(p.Name), link: l, lostAt: now,
		max: codec.MaxContentsBytes, board: loop.NewBoard(numCells),
		latency: newHistogram(latencyBounds), roundTrip: newHistogram(latencyBounds)}
}

// verdict is whether a node can take a request.
type verdict uint8

const (
	nodeReady verdict = iota
	nodeBusy          // as many session creations are under way as it can have
	nodeFull          // its link is above the high-water mark
	nodeAway          // not up, and expected back
	nodeGone          // not up for longer than the grace
)

func (w *worker) verdict(n *node) verdict {
	switch {
	case n.stage != stageUp && w.r.Now()-n.lostAt > w.times.grace:
		return nodeGone
	case n.stage != stageUp:
		return nodeAway
	case n.link.Unsent() > w.cfg.LinkHighWater:
		return nodeFull
	}
	return nodeReady
}

// expecting says whether there may be nodes soon that have not been found since the start.
func (w *worker) expecting() bool { return w.waiting && w.r.Now() <= w.times.grace }

// byTag is the node with the given tag, or nil.
func (w *worker) byTag(tag []byte) *node {
	for _, n := range w.nodes {
		if bytes.Equal(n.tag[:], tag) {
			return n
		}
	}
	return nil
}

// takesNew says whether the node may get sessions: neither it, nor the configuration, nor a call has it drain.
func (n *node) takesNew() bool { return !n.draining && !n.cfg.Drain && !n.aside }

// serving returns the bits of the nodes that take sessions to the given domain.
func (w *worker) serving(to []byte) (nodes uint64) {
	for _, n := range w.nodes {
		if !n.leaving && n.serves(to) {
			nodes |= n.bit
		}
	}
	return nodes
}

// choose picks a node for a new session to the given domain.
func (w *worker) choose(to []byte) (*node, verdict) { return w.pick(w.serving(to)) }

// pick picks one of the given nodes for a new session: of two healthy ones with room, drawn at random, the one with
// fewer held requests for its weight (Mitzenmacher, The Power of Two Choices). They are drawn in proportion to their
// weights. Without a healthy one the verdict is the most hopeful of all; without room it is nodeBusy. An ejected node
// is picked for a trial, and if there is no other.
func (w *worker) pick(nodes uint64) (*node, verdict) {
	now, b := w.micros(), &w.creationBounds
	best, trial := w.gather(nodes, true)
	if trial != nil && (len(w.healthy) == 0 || trial.cfg.priority <= w.healthy[0].cfg.priority) {
		return trial, nodeReady
	}
	if len(w.healthy) == 0 {
		best, _ = w.gather(nodes, false)
	}
	if len(w.healthy) == 0 {
		return nil, best
	}
	room, weights := w.healthy[:0], uint32(0)
	for _, n := range w.healthy {
		if n.creating < w.fair(n) && n.health.room(now, b) {
			n.weight = uint32(n.cfg.Weight) * n.health.share(now, b)
			weights += n.weight
			room = append(room, n)
		}
	}
	w.healthy = room
	switch len(room) {
	case 0:
		return nil, nodeBusy
	case 1:
		return room[0], nodeReady
	}
	first := w.draw(weights, nil)
	second := w.draw(weights-first.weight, first)
	if w.prefers(second, first, now) {
		first = second
	}
	return first, nodeReady
}

// gather puts those of the given nodes into w.healthy that can have new sessions, of the lowest priority that there is.
// judged: without the ejected ones, and trial is one of these that is to be tried.
func (w *worker) gather(nodes uint64, judged bool) (best verdict, trial *node) {
	w.healthy = w.healthy[:0]
	best = nodeGone
	if w.expecting() {
		best = nodeAway
	}
	for _, n := range w.nodes {
		if n.leaving || n.bit&nodes == 0 {
			continue
		}
		v := w.verdict(n)
		switch {
		case v != nodeReady:
		case !n.takesNew():
			v = nodeAway // it drains: another, or its successor, will come
		case judged && w.ejects && n.health.is() != standingWell:
			if n.health.due(w.micros()) && n.health.room(w.micros(), &w.creationBounds) &&
				(trial == nil || n.cfg.priority < trial.cfg.priority) {
				trial = n
			}
		case len(w.healthy) > 0 && n.cfg.priority > w.healthy[0].cfg.priority:
		case len(w.healthy) > 0 && n.cfg.priority < w.healthy[0].cfg.priority:
			w.healthy = append(w.healthy[:0], n)
		default:
			w.healthy = append(w.healthy, n)
		}
		best = min(best, v)
	}
	return best, trial
}

// prefers reports whether node b is better for a new session than a, which was drawn first. One that came up later is
// not better for what it does not hold yet, nor is one that answers nothing.
func (w *worker) prefers(b, a *node, now uint64) bool {
	if sa, sb := a.health.stalled(now), b.health.stalled(now); sa != sb {
		return sa
	}
	return b.held*a.cfg.Weight < a.held*b.cfg.Weight && b.health.share(now, &w.creationBounds) >=
		a.health.share(now, &w.creationBounds)
}

// draw picks a healthy node other than the given one, by its weight; weights is the sum of theirs.
func (w *worker) draw(weights uint32, other *node) *node {
	at := w.r.Rand().Uint32N(weights)
	for _, n := range w.healthy {
		if n == other {
			continue
		}
		if at < n.weight {
			return n
		}
		at -= n.weight
	}
	panic("edge: the weights of the healthy nodes are less than their sum")
}

// serves says whether the node takes sessions to the given domain. A request without one goes anywhere: its origin says
// improper-addressing.
func (n *node) serves(to []byte) bool {
	if len(n.cfg.Domains) == 0 || len(to) == 0 {
		return true
	}
	for _, d := range n.cfg.Domains {
		if bytes.EqualFold(to, []byte(d)) {
			return true
		}
	}
	return false
}
