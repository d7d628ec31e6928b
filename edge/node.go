package edge

import (
	"bytes"

	"megaphone/codec"
	"megaphone/loop"
)

// MaxOrigins bounds the nodes of one edge: each reactor has a link to each of them.
const MaxOrigins = 60

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
	cfg      *Origin
	tag      [codec.TagBytes]byte
	link     *loop.Link
	stage    stage
	draining bool   // the origin wants no new sessions
	held     int    // requests it has and has not answered
	max      int    // the largest contents it takes
	lostAt   uint32 // tick since which it is not up
	heardAt  uint32 // tick of the last bytes from it
	pinged   bool   // since then
	asked    bool   // a ping is on its way of which the pong is to be measured
	pingedAt uint32 // tick of the last ping
	pingSent uint32 // the same in Reactor.Micros; of use while asked
	nonce    [16]byte
	theirs   [16]byte

	board     *loop.Board
	latency   histogram // of session creations
	roundTrip histogram // of pings
}

func newNode(o *Origin, l *loop.Link, now uint32) *node {
	return &node{cfg: o, tag: codec.NodeTag(o.Name), link: l, lostAt: now, max: codec.MaxContentsBytes,
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

// byTag is the node with the given tag, or nil.
func (w *worker) byTag(tag []byte) *node {
	for _, n := range w.nodes {
		if bytes.Equal(n.tag[:], tag) {
			return n
		}
	}
	return nil
}

// choose picks a node for a new session: of two healthy ones drawn at random the one with fewer held requests
// (Mitzenmacher, The Power of Two Choices). Without a healthy one the verdict is the most hopeful of all.
func (w *worker) choose(to []byte) (*node, verdict) {
	w.healthy = w.healthy[:0]
	best := nodeGone
	for _, n := range w.nodes {
		if !n.serves(to) {
			continue
		}
		v := w.verdict(n)
		if v == nodeReady && !n.draining {
			w.healthy = append(w.healthy, n)
		} else if v == nodeReady {
			v = nodeAway // it drains: another, or its successor, will come
		}
		best = min(best, v)
	}
	switch k := uint32(len(w.healthy)); k {
	case 0:
		return nil, best
	case 1:
		return w.healthy[0], nodeReady
	default:
		i := w.r.Rand().Uint32N(k)
		j := (i + 1 + w.r.Rand().Uint32N(k-1)) % k
		if w.healthy[j].held < w.healthy[i].held {
			i = j
		}
		return w.healthy[i], nodeReady
	}
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
