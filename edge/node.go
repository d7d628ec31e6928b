package edge

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/loop"
	"megaphone/secure"
	"megaphone/stats"
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
	secure     func() loop.LinkTransport
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
	window     int32      // bytes that a stream may send it at first; 0: it takes no streams
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
	handshake  *linkProof // with a secret, while stageProving

	health   *health // shared by the reactors
	trialLog loop.Interval

	linkBoard     *stats.Board
	originBoard   *stats.Board
	creationTimes stats.Histogram
	roundTrips    stats.Histogram // of pings
}

func newNode(p *place, l *loop.Link, now uint32) *node {
	return &node{cfg: p, health: p.health, tag: boshbody.TagOf(p.Name), link: l, lostAt: now,
		max:       frame.MaxContentsBytes,
		linkBoard: stats.NewBoard(int(stats.NumLinkFigures)), originBoard: stats.NewBoard(int(stats.NumOriginFigures)),
		creationTimes: stats.NewHistogram(stats.CreationTimes), roundTrips: stats.NewHistogram(stats.RoundTrips)}
}

// nodes are the origins of a reactor.
type nodes []*node

// verdict is whether a node can take a request, and if not, why.
type verdict uint8

const (
	nodeReady verdict = iota
	nodeBusy          // as many session creations are under way as it may have
	nodeFull          // its link is above the high-water mark
	nodeAway          // not up, and expected back
	nodeGone          // not up for longer than the grace
)

func (s *settings) verdict(n *node, now uint32) verdict {
	switch {
	case n.stage != stageUp && now-n.lostAt > s.times.grace:
		return nodeGone
	case n.stage != stageUp:
		return nodeAway
	case n.link.Unsent() > s.cfg.LinkHighWater:
		return nodeFull
	}
	return nodeReady
}

// expecting reports whether an origin that has not been resolved since the start may still appear within the grace.
func (s *settings) expecting(now uint32) bool { return s.found.Missing && now <= s.times.grace }

// byTag returns the node with the given tag, or nil.
func (all nodes) byTag(tag []byte) *node {
	for _, n := range all {
		if bytes.Equal(n.tag[:], tag) {
			return n
		}
	}
	return nil
}

// takesNew reports whether the node may get sessions: neither it, nor the configuration, nor SetDraining drains it.
func (n *node) takesNew() bool { return !n.draining && !n.cfg.Drain && !n.aside }

// serving returns the bits of the nodes that take sessions to the given domain.
func (all nodes) serving(to []byte) (bits uint64) {
	for _, n := range all {
		if !n.leaving && n.serves(to) {
			bits |= n.bit
		}
	}
	return bits
}

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
	if w.expecting(w.r.Now()) {
		best = nodeAway
	}
	for _, n := range w.nodes {
		if n.leaving || n.bit&nodes == 0 {
			continue
		}
		v := w.verdict(n, w.r.Now())
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

// A reactor's nodes follow the places of its settings. A node that no longer has a place leaves: it gets no new
// sessions, and its existing sessions continue. Once it has been down for longer than the grace, it is dropped, and its
// sessions with it. So remove an origin from the configuration first, and stop it when its users have gone.

var errMoved = errors.New("the configuration changed its address or TLS")

// reconcile makes nodes for new places, marks those without a place as leaving, and updates the others.
func (w *worker) reconcile() {
	for _, n := range w.nodes {
		n.leaving = true
	}
	for i := range w.places {
		if n := w.nodes.named(w.places[i].Name); n != nil {
			n.take(&w.places[i])
			n.bit = 1 << i
		}
	}
	w.joinNew()
	w.relane()
}

// joinNew makes nodes for the places without one, and reports whether it made any. If no link is free, because too many
// are still closing, the worker is behind, and each tick tries again.
func (w *worker) joinNew() (made bool) {
	w.behind = false
	for i := range w.places {
		if w.nodes.named(w.places[i].Name) != nil {
			continue
		}
		if n := w.join(&w.places[i]); n != nil {
			n.bit = 1 << i
			made = true
		} else {
			w.behind = true
		}
	}
	w.sole = nil
	if len(w.places) > 0 {
		w.sole = w.nodes.named(w.places[0].Name)
	}
	return made
}

// join makes a node and its link. It returns nil if no link is free.
func (w *worker) join(p *place) *node {
	l, err := w.r.NewLink(p.Name, p.Addr)
	if err != nil {
		w.r.LogLimited(&w.linkLog, slog.LevelWarn, "origin waiting for a free link", "origin", p.Name,
			"error", err.Error())
		return nil
	}
	n := newNode(p, l, w.r.Now())
	n.secure = func() loop.LinkTransport { return w.secureLinks().New(n.cfg.tls) }
	n.setTransport()
	w.nodes = append(w.nodes, n)
	for l.Index >= len(w.byLink) {
		w.byLink = append(w.byLink, nil)
	}
	w.byLink[l.Index] = n
	return n
}

// take updates a node from its place.
func (n *node) take(p *place) {
	moved := n.cfg.Address != p.Address || n.cfg.TLS != p.TLS || n.cfg.CA != p.CA || n.cfg.ServerName != p.ServerName
	n.cfg, n.leaving = p, false
	n.setTransport()
	if n.health != p.health { // its place was removed and returned before the node was dropped
		if n.stage == stageUp {
			n.health.linkDown()
			p.health.links.Add(1)
		}
		n.health = p.health
	}
	if moved || p.Addr.IsValid() {
		n.link.SetAddr(p.Addr)
	}
	if moved {
		n.link.Fail(errMoved)
	}
}

// setTransport gives the next connection of the link TLS, or none.
func (n *node) setTransport() {
	if n.cfg.tls == nil {
		n.link.SetTransport(nil)
		return
	}
	n.link.SetTransport(n.secure)
}

// secureLinks returns the TLS of the reactor's links, which the first of them makes.
func (w *worker) secureLinks() *secure.Links {
	if w.linksTLS == nil {
		w.linksTLS = secure.NewLinks()
	}
	return w.linksTLS
}

// named returns the node with the given name, or nil.
func (all nodes) named(name string) *node {
	for _, n := range all {
		if n.cfg.Name == name {
			return n
		}
	}
	return nil
}

// dropLeft drops the nodes that have left, and makes those that had to wait for a link.
func (w *worker) dropLeft() {
	w.nodes = slices.DeleteFunc(w.nodes, func(n *node) bool {
		if !n.leaving || n.away > 0 || len(n.queue.chunks) > 0 || w.verdict(n, w.r.Now()) != nodeGone {
			return false
		}
		n.link.Remove()
		w.byLink[n.link.Index] = nil
		w.log(slog.LevelInfo, "origin dropped", "origin", n.cfg.Name)
		return true
	})
	if w.behind && w.joinNew() {
		w.relane()
	}
}
