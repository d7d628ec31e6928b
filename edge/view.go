package edge

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"megaphone/loop"
)

// View is what can be seen of an edge from outside: what its reactors posted with their last ticks. Taking one reads
// boards and costs the reactors nothing.
type View struct {
	At       time.Time
	Started  time.Time
	Name     string
	Private  bool // each reactor has a descriptor table of its own
	Reactors []ReactorView
	Origins  []OriginView
	Holds    Histogram // from parking to the origin's reply: for a long poll mostly the wait of its session
	Limits   Limits
	// AccessFailed counts records of the access log that could not be written.
	AccessFailed uint64
	// ConfigHash is a number that changes with the configuration in force.
	ConfigHash uint64
}

// Limits are the configured bounds that figures of a View are to be seen against.
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
	Links   []LinkView // one a reactor
	// Latency is from the parking of a session creation to its reply. That is the one request which an origin answers
	// at once; others wait for something to say.
	Latency Histogram
	// RoundTrip is from a ping to its pong over the same link as the requests, behind whatever is queued there.
	RoundTrip Histogram
	Creations Creations
}

// LinkView is one reactor's link.
type LinkView struct {
	Up       bool // requests may be sent
	Draining bool // it gets no new sessions: the origin, the configuration or a call says so
	Held     uint64
	Unsent   uint64 // bytes
}

// Creations is what the reactors together know of an origin's session creations.
type Creations struct {
	UnderWay  uint64  // now
	Most      uint64  // that may be
	Ejected   bool    // it gets none, or one as a trial
	Share     float64 // the part of its weight that counts: less than 1 after it came up
	Failed    uint64  // so far
	Ejections uint64  // so far
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

// shown is what of a worker may be looked at from other threads: it does not change once it is published, and what
// hangs on it is boards. A worker that gets another configuration publishes another one.
type shown struct {
	settings *settings
	hash     uint64
	places   []*place
	nodes    []*node // of these, in the same order
}

// show publishes the worker's nodes, when they are not what was published last.
func (w *worker) show() {
	if s := w.shown.Load(); s != nil && s.settings == w.settings && slices.Equal(s.nodes, w.nodes) {
		return
	}
	s := &shown{settings: w.settings, hash: w.cfg.hash(), nodes: slices.Clone(w.nodes)}
	for _, n := range w.nodes {
		s.places = append(s.places, n.cfg)
	}
	w.shown.Store(s)
}

// hash is over all keys that a file may have, so that edges with the same one have the same configuration.
func (c *Config) hash() uint64 {
	var h xxhash.Digest
	h.Reset()
	for i := range configKeys {
		k := &configKeys[i]
		fmt.Fprintf(&h, "%s=%+v\n", k.Name, reflect.ValueOf(k.Value(c)).Elem())
	}
	return h.Sum64()
}

// post publishes a node as its link is now.
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

// View is the edge as of the last ticks of its reactors.
func (e *Edge) View() *View {
	first := e.workers[0].shown.Load()
	cfg := &first.settings.cfg
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
		seen := w.shown.Load()
		for j, n := range seen.nodes {
			o := v.origin(&seen.places[j].Origin)
			o.Links[i] = n.view()
			o.Creations = n.creations() // any reactor's, all have the same
			o.Latency.add(&n.latency)
			o.RoundTrip.add(&n.roundTrip)
		}
	}
	return v
}

// origin is the origin of that name. Reactors take over a new configuration one after the other, so some may have one
// that others have not.
func (v *View) origin(o *Origin) *OriginView {
	for i := range v.Origins {
		if v.Origins[i].Name == o.Name {
			return &v.Origins[i]
		}
	}
	v.Origins = append(v.Origins, OriginView{Name: o.Name, Address: o.Address, Links: make([]LinkView, len(v.Reactors)),
		Latency: newView(latencyBounds), RoundTrip: newView(latencyBounds)})
	return &v.Origins[len(v.Origins)-1]
}

// Edge sums a counter over the reactors.
func (v *View) Edge(c Counter) (sum uint64) {
	for i := range v.Reactors {
		sum += v.Reactors[i].Edge[c]
	}
	return sum
}

// Loop sums a counter of the event loops over the reactors.
func (v *View) Loop(c loop.Counter) (sum uint64) {
	for i := range v.Reactors {
		sum += v.Reactors[i].Loop[c]
	}
	return sum
}
