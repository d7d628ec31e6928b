package edge

import (
	"slices"
	"time"

	"megaphone/acme"
	"megaphone/discovery"
	"megaphone/stats"
)

// View is the state of an edge as its reactors posted it with their last ticks. Taking one reads boards and costs the
// reactors nothing.
type View struct {
	At       time.Time
	Started  time.Time
	Name     string
	Private  bool // each reactor has its own descriptor table
	Reactors []stats.Counters
	Origins  []OriginView
	Holds    stats.Distribution // from parking to the origin's reply: for a long poll, usually the wait of its session
	Limits   Limits
	// ConfigHash changes with the configuration in force.
	ConfigHash   uint64
	Certificates []CertificateView
	ACME         []acme.State
}

// Limits are the configured bounds for the figures of a View.
type Limits struct {
	MaxConnections   int `json:"max_connections"`
	MaxHolds         int `json:"max_holds"`
	MaxBufferedBytes int `json:"max_buffered_bytes"` // of each reactor
	LinkHighWater    int `json:"link_high_water"`    // bytes
}

// OriginView is one origin as all reactors see it.
type OriginView struct {
	Name    string
	Address string              // as configured
	Links   []stats.LinkFigures // one per reactor
	Figures stats.OriginFigures
	// Creations is the time from the parking of a session creation to its reply. Origins answer only creations at once.
	// Other requests wait for something to send.
	Creations stats.Distribution
	// RoundTrips is the time from a ping to its pong on the link of the requests, behind whatever is queued there.
	RoundTrips stats.Distribution
}

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
	link := stats.LinkFigures{
		stats.LinkUp:       truth(n.stage == stageUp),
		stats.LinkDraining: truth(n.leaving || !n.takesNew()),
		stats.LinkHolds:    uint64(n.held),
		stats.LinkUnsent:   uint64(n.link.Unsent()),
	}
	h := n.health
	origin := stats.OriginFigures{
		stats.OriginCreations:       uint64(h.underWay.Load()),
		stats.OriginMaxCreations:    uint64(h.bound(&w.creationBounds)),
		stats.OriginFailedCreations: h.failures.Load(),
		stats.OriginEjected:         truth(w.ejects && h.is() != standingWell),
		stats.OriginEjections:       h.ejections.Load(),
		stats.OriginShare:           uint64(h.share(w.micros(), &w.creationBounds)),
	}
	n.linkBoard.Post(link[:])
	n.originBoard.Post(origin[:])
	n.creationTimes.Post()
	n.roundTrips.Post()
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// View returns the state of the edge as of the last ticks of its reactors.
func (e *Edge) View() *View {
	first := e.workers[0].snapshot.Load()
	cfg := first.settings.cfg
	v := &View{At: time.Now(), Started: e.started, Name: cfg.Name, Private: e.group.Private(),
		Reactors: make([]stats.Counters, len(e.workers)), Holds: stats.NewDistribution(stats.HoldTimes),
		Limits: Limits{MaxConnections: cfg.MaxConnections, MaxBufferedBytes: cfg.MaxBufferedBytes,
			LinkHighWater: cfg.LinkHighWater},
		ConfigHash: first.hash, Certificates: certificatesOf(cfg, e.issuing),
		ACME: e.issuing.States(),
	}
	for i, w := range e.workers {
		v.Reactors[i] = e.countersOf(i)
		v.Limits.MaxHolds += w.holds.Cap()
		v.Holds.Add(&w.holdTimes)
		seen := w.snapshot.Load()
		for j, n := range seen.nodes {
			o := v.origin(&seen.places[j].Origin)
			n.linkBoard.Read(o.Links[i][:])
			n.originBoard.Read(o.Figures[:]) // from any reactor, because all share them
			o.Creations.Add(&n.creationTimes)
			o.RoundTrips.Add(&n.roundTrips)
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
	v.Origins = append(v.Origins, OriginView{Name: o.Name, Address: o.Address,
		Links:     make([]stats.LinkFigures, len(v.Reactors)),
		Creations: stats.NewDistribution(stats.CreationTimes), RoundTrips: stats.NewDistribution(stats.RoundTrips)})
	return &v.Origins[len(v.Origins)-1]
}

// Counters returns the sums of all counters over the reactors.
func (v *View) Counters() (sum stats.Counters) {
	for i := range v.Reactors {
		sum.Add(&v.Reactors[i])
	}
	return sum
}
