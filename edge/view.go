package edge

import (
	"slices"
	"time"

	"megaphone/discovery"
	"megaphone/loop"
)

// View is the state of an edge as its reactors posted it with their last ticks. Taking one reads boards and costs the
// reactors nothing.
type View struct {
	At       time.Time
	Started  time.Time
	Name     string
	Private  bool // each reactor has its own descriptor table
	Reactors []ReactorView
	Origins  []OriginView
	Holds    Histogram // from parking to the origin's reply: for a long poll, usually the wait of its session
	Limits   Limits
	// AccessFailed counts records of the access log that could not be written.
	AccessFailed uint64
	// ConfigHash changes with the configuration in force.
	ConfigHash uint64
}

// Limits are the configured bounds for the figures of a View.
type Limits struct {
	MaxConnections   int `json:"max_connections"`
	MaxHolds         int `json:"max_holds"`
	MaxBufferedBytes int `json:"max_buffered_bytes"` // of each reactor
	LinkHighWater    int `json:"link_high_water"`    // bytes
}

// ReactorView is one reactor's counters.
type ReactorView struct {
	Edge [numCounters]uint64
	Loop [loop.NumCounters]uint64
}

// OriginView is one origin as all reactors see it.
type OriginView struct {
	Name    string
	Address string     // as configured
	Links   []LinkView // one per reactor
	// Latency is the time from the parking of a session creation to its reply. Origins answer only creations at once.
	// Other requests wait for something to send.
	Latency Histogram
	// RoundTrip is the time from a ping to its pong on the link of the requests, behind whatever is queued there.
	RoundTrip Histogram
	Creations Creations
}

// LinkView is one reactor's link.
type LinkView struct {
	Up       bool // requests may be sent
	Draining bool // no new sessions: the origin, the configuration or a call drains it
	Held     uint64
	Unsent   uint64 // bytes
}

// Creations is the state of an origin's session creations, over all reactors.
type Creations struct {
	UnderWay  uint64  // now
	Most      uint64  // maximum under way
	Ejected   bool    // it gets none, or one as a trial
	Share     float64 // the part of its weight that counts: less than 1 after it came up
	Failed    uint64  // in all
	Ejections uint64  // in all
}

// Cells of a node's board.
const (
	cellUp = iota
	cellDraining
	cellHeld
	cellUnsent
	cellCreating
	cellMost
	cellEjected
	cellShare
	cellFailed
	cellEjections
	numCells
)

// snapshot is the part of a worker that other goroutines may read. It is immutable; the boards it points to are atomic.
// A worker with a new configuration publishes a new one.
type snapshot struct {
	settings *settings
	hash     uint64
	places   []*place
	nodes    []*node // of these, in the same order
}

// publish posts a snapshot of the worker's nodes if they have changed.
func (w *worker) publish() {
	if s := w.snapshot.Load(); s != nil && s.settings == w.settings && slices.Equal(s.nodes, w.nodes) {
		return
	}
	s := &snapshot{settings: w.settings, hash: w.cfg.Hash(), nodes: slices.Clone(w.nodes)}
	for _, n := range w.nodes {
		s.places = append(s.places, n.cfg)
	}
	w.snapshot.Store(s)
}

// post publishes the state of a node and its link.
func (n *node) post(w *worker) {
	h := n.health
	cells := [numCells]uint64{cellHeld: uint64(n.held), cellUnsent: uint64(n.link.Unsent()),
		cellCreating: uint64(h.underWay.Load()), cellMost: uint64(h.bound(&w.creationBounds)),
		cellShare: uint64(h.share(w.micros(), &w.creationBounds)), cellFailed: h.failures.Load(),
		cellEjections: h.ejections.Load()}
	if w.ejects && h.is() != standingWell {
		cells[cellEjected] = 1
	}
	if n.stage == stageUp {
		cells[cellUp] = 1
	}
	if n.leaving || !n.takesNew() {
		cells[cellDraining] = 1
	}
	n.board.Post(cells[:])
	n.latency.post()
	n.roundTrip.post()
}

func (n *node) view() LinkView {
	return LinkView{Up: n.board.Get(cellUp) != 0, Draining: n.board.Get(cellDraining) != 0,
		Held: n.board.Get(cellHeld), Unsent: n.board.Get(cellUnsent)}
}

func (n *node) creations() Creations {
	return Creations{UnderWay: n.board.Get(cellCreating), Most: n.board.Get(cellMost),
		Ejected: n.board.Get(cellEjected) != 0, Share: float64(n.board.Get(cellShare)) / fullShare,
		Failed: n.board.Get(cellFailed), Ejections: n.board.Get(cellEjections)}
}

// View returns the state of the edge as of the last ticks of its reactors.
func (e *Edge) View() *View {
	first := e.workers[0].snapshot.Load()
	cfg := first.settings.cfg
	v := &View{At: time.Now(), Started: e.started, Name: cfg.Name, Private: e.group.Private(),
		Reactors: make([]ReactorView, len(e.workers)), Holds: newView(holdBounds),
		Limits: Limits{MaxConnections: cfg.MaxConnections, MaxBufferedBytes: cfg.MaxBufferedBytes,
			LinkHighWater: cfg.LinkHighWater},
		ConfigHash: first.hash,
	}
	if e.access != nil {
		v.AccessFailed = e.access.failed.Load()
	}
	for i, w := range e.workers {
		r := &v.Reactors[i]
		for c := range r.Edge {
			r.Edge[c] = w.board.Get(c)
		}
		for c := range r.Loop {
			r.Loop[c] = e.group.ReactorCounter(i, loop.Counter(c))
		}
		v.Limits.MaxHolds += w.holds.Cap()
		v.Holds.add(&w.holdTimes)
		seen := w.snapshot.Load()
		for j, n := range seen.nodes {
			o := v.origin(&seen.places[j].Origin)
			o.Links[i] = n.view()
			o.Creations = n.creations() // from any reactor, because all share them
			o.Latency.add(&n.latency)
			o.RoundTrip.add(&n.roundTrip)
		}
	}
	return v
}

// origin returns the view of an origin, and adds it if necessary. Reactors apply a new configuration one after the
// other, so some may have an origin that others lack.
func (v *View) origin(o *discovery.Origin) *OriginView {
	for i := range v.Origins {
		if v.Origins[i].Name == o.Name {
			return &v.Origins[i]
		}
	}
	v.Origins = append(v.Origins, OriginView{Name: o.Name, Address: o.Address, Links: make([]LinkView, len(v.Reactors)),
		Latency: newView(latencyBounds), RoundTrip: newView(latencyBounds)})
	return &v.Origins[len(v.Origins)-1]
}

// Edge returns the sum of a counter over the reactors.
func (v *View) Edge(c Counter) (sum uint64) {
	for i := range v.Reactors {
		sum += v.Reactors[i].Edge[c]
	}
	return sum
}

// Loop returns the sum of a counter of the event loops over the reactors.
func (v *View) Loop(c loop.Counter) (sum uint64) {
	for i := range v.Reactors {
		sum += v.Reactors[i].Loop[c]
	}
	return sum
}
