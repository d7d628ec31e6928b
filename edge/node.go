package edge

import (
	"bytes"

	"megaphone/codec"
	"megaphone/loop"
)

// MaxOrigins bounds the nodes of one edge: each reactor has a link to each of them.
const MaxOrigins = 60

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
	draining   bool       // the origin wants no new sessions
	leaving    bool       // the settings have no place for it
	aside      bool       // Edge.SetDraining says that it gets none
	held       int        // requests it has and has not answered
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

	board     *loop.Board
	latency   histogram // of session creations
	roundTrip histogram // of pings
}

func newNode(p *place, l *loop.Link, now uint32) *node {
	return &node{cfg: p, tag: codec.NodeTag(p.Name), link: l, lostAt: now, max: codec.MaxContentsBytes,
		board: loop.NewBoard(numCells), latency: newHistogram(latencyBounds), roundTrip: newHistogram(latencyBounds)}
}

// verdict is whether a node can take a request.
type verdict uint8

const (
	nodeReady verdict = iota
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

// choose picks a node for a new session: of two healthy ones drawn at random the one with fewer held requests for its
// weight (Mitzenmacher, The Power of Two Choices). They are drawn in proportion to their weights. Without a healthy one
// the verdict is the most hopeful of all.
func (w *worker) choose(to []byte) (*node, verdict) {
	w.healthy = w.healthy[:0]
	best, weights := nodeGone, uint32(0)
	if w.expecting() {
		best = nodeAway
	}
	for _, n := range w.nodes {
		if n.leaving || !n.serves(to) {
			continue
		}
		v := w.verdict(n)
		if v == nodeReady && n.takesNew() {
			if len(w.healthy) > 0 && n.cfg.priority < w.healthy[0].cfg.priority {
				w.healthy, weights = w.healthy[:0], 0
			}
			if len(w.healthy) == 0 || n.cfg.priority == w.healthy[0].cfg.priority {
				w.healthy = append(w.healthy, n)
				weights += uint32(n.cfg.Weight)
			}
		} else if v == nodeReady {
			v = nodeAway // it drains: another, or its successor, will come
		}
		best = min(best, v)
	}
	switch len(w.healthy) {
	case 0:
		return nil, best
	case 1:
		return w.healthy[0], nodeReady
	}
	a := w.draw(weights, nil)
	b := w.draw(weights-uint32(a.cfg.Weight), a)
	if b.held*a.cfg.Weight < a.held*b.cfg.Weight {
		a = b
	}
	return a, nodeReady
}

// draw picks a healthy node other than the given one, by its weight; weights is the sum of theirs.
func (w *worker) draw(weights uint32, other *node) *node {
	at := int(w.r.Rand().Uint32N(weights))
	for _, n := range w.healthy {
		if n == other {
			continue
		}
		if at -= n.cfg.Weight; at < 0 {
			return n
		}
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
