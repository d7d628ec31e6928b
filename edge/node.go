package edge

import (
	"bytes"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/loop"
)

const _ = uint(64 - config.MaxOrigins) // one bit per origin

// stage is the progress of a link's handshake.
type stage uint8

const (
	// Not connected.
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
	tag        [boshbody.TagBytes]byte
	link       *loop.Link
	stage      stage
	draining   bool   // the origin wants no new sessions
	leaving    bool   // the settings have no place for it
	aside      bool   // drained by Edge.SetDraining
	held       int    // requests that the origin has not answered
	creating   int    // session creations among them
	nextFair   uint64 // microseconds: when this reactor may begin another one, by its part of the rate
	bit        uint64 // of its place, in sets of nodes
	weight     uint32 // valid only during pick
	away       int    // holds that wait for it, or for their 503 because its link was lost
	share      int    // waiting requests to send per tick
	returned   int    // clients that were answered in this tick because it was lost
	queue      waitQueue
	max        int        // the largest contents it takes
	takesQuery bool       // it takes the query of the URL
	instance   string     // what its sessions lived in at the last welcome; "": unknown
	newSince   uint32     // tick at which instance began, if it replaced another; 0: it did not
	upSince    uint32     // tick at which the link was connected
	lostAt     uint32     // tick since which it is not up
	heardAt    uint32     // tick of the last bytes from it
	pinged     bool       // since then
	inquired   bool       // its silence before hello has been reported to watchSilence
	asked      bool       // the pong of the last ping is outstanding, and will be measured
	pongs      int        // bytes of pongs since the link rose above the high-water mark
	pingedAt   uint32     // tick of the last ping
	pingSent   uint32     // the same in Reactor.Micros; valid while asked
	secret     []byte     // of this handshake
	handshake  *handshake // with a secret, while stageProving

	health   *health // shared by the reactors
	trialLog loop.Interval

	board     *loop.Board
	latency   histogram // of session creations
	roundTrip histogram // of pings
}

func newNode(p *place, l *loop.Link, now uint32) *node {
	return &node{cfg: p, health: p.health, tag: boshbody.TagOf(p.Name), link: l, lostAt: now,
		max: frame.MaxContentsBytes, board: loop.NewBoard(numCells),
		latency: newHistogram(latencyBounds), roundTrip: newHistogram(latencyBounds)}
}

// verdict is whether a node can take a request, and if not, why.
type verdict uint8

const (
	nodeReady verdict = iota
	nodeBusy          // as many session creations are under way as it may have
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

// expecting reports whether an origin that has not been resolved since the start may still appear within the grace.
func (w *worker) expecting() bool { return w.found.Missing && w.r.Now() <= w.times.grace }

// byTag returns the node with the given tag, or nil.
func (w *worker) byTag(tag []byte) *node {
	for _, n := range w.nodes {
		if bytes.Equal(n.tag[:], tag) {
			return n
		}
	}
	return nil
}

// takesNew reports whether the node may get sessions: neither it, nor the configuration, nor SetDraining drains it.
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

// pick returns one of the given nodes for a new session. It draws two healthy ones with room, in proportion to their
// weights, and takes the one with fewer held requests for its weight (Mitzenmacher, The Power of Two Choices).
//
// Without a healthy node it returns the most hopeful verdict of all. Without room it returns nodeBusy. It picks an
// ejected node for a trial, or if there is no other.
func (w *worker) pick(nodes uint64) (*node, verdict) {
	now, b := w.micros(), &w.creationBounds
	best, trial := w.gather(nodes, true)
	if trial != nil && (len(w.healthy) == 0 || trial.cfg.Priority <= w.healthy[0].cfg.Priority) {
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
		if w.fair(n, now) && n.health.room(now, b) {
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

// gather sets w.healthy to the candidates of the lowest priority among the given nodes. If judged is set, it omits the
// ejected nodes and returns one of them that is due for a trial. best is the most hopeful verdict.
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
			v = nodeAway // it drains: another origin, or its successor, will appear
		case judged && w.ejects && n.health.is() != standingWell:
			if n.health.due(w.micros()) && n.health.room(w.micros(), &w.creationBounds) &&
				(trial == nil || n.cfg.Priority < trial.cfg.Priority) {
				trial = n
			}
		case len(w.healthy) > 0 && n.cfg.Priority > w.healthy[0].cfg.Priority:
		case len(w.healthy) > 0 && n.cfg.Priority < w.healthy[0].cfg.Priority:
			w.healthy = append(w.healthy[:0], n)
		default:
			w.healthy = append(w.healthy, n)
		}
		best = min(best, v)
	}
	return best, trial
}

// prefers reports whether node b is better for a new session than a, which was drawn first. A node that has just come
// up holds little, which does not make it better. A node that answers nothing is not better either.
func (w *worker) prefers(b, a *node, now uint64) bool {
	if sa, sb := a.health.stalled(now), b.health.stalled(now); sa != sb {
		return sa
	}
	return b.held*a.cfg.Weight < a.held*b.cfg.Weight && b.health.share(now, &w.creationBounds) >=
		a.health.share(now, &w.creationBounds)
}

// draw picks a healthy node other than the given one, by weight. weights is the sum of theirs.
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

// serves reports whether the node takes sessions to the given domain. A request without a domain goes to any node,
// whose origin then answers improper-addressing.
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
