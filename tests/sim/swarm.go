//go:build sim

package sim

import (
	"time"

	"megaphone/config"
	"megaphone/fdtable"
	"megaphone/loop/sys"
)

// swarm is drawn from a seed: the actors, their limits, and how often what goes wrong. Most faults are absent
// from most seeds, because faults mask each other (Groce et al., Swarm Testing).
type swarm struct {
	faults   sys.Faults
	troubles []string
	config   config.Config
	result   Result

	numOrigins, numSites, numClients, numStreamers int

	faulty, arrival, wait, hold, think, outage, originLatency, creation time.Duration
	troubleEvery, pestEvery                                             time.Duration

	reactors    int
	descriptors int
	big         float64 // of messages
	stale       float64 // an origin answers once more
	refusal     float64 // an origin answers a creation with an error
	chunked     float64 // of requests
	closes      float64 // of requests with Connection: close
	pipelines   float64 // of clients
	slow        float64 // of clients
	quits       float64 // the chance that a client ends its session, and its connection behind the last request
	hangs       float64 // the chance that a client drops a connection while it waits
	stallChance float64 // of a reactor's turn
}

var allTroubles = []string{"origin restarts", "origin stalls", "origin drains", "origin errs", "origin broken",
	"origin removed", "origin set aside", "links reset", "links cut", "edge killed", "edge drains", "edge stalls",
	"takeover", "successor fails", "reload", "time jumps", "clients cut", "clients vanish", "crowd"}

// draw draws a swarm.
func draw(k *sys.Kernel) (s swarm) {
	r := k.Rand
	some := func(chance, most float64) float64 {
		if r.Float64() >= chance {
			return 0
		}
		return most * r.Float64() * r.Float64()
	}
	between := func(least, most time.Duration) time.Duration { return least + k.Upto(most-least) }
	s.faults = sys.Faults{
		ShortRead: some(0.5, 0.9), ShortWrite: some(0.5, 0.9), Again: some(0.3, 0.5), Interrupted: some(0.3, 0.3),
		Accept: some(0.2, 0.5), Socket: some(0.15, 0.5), Watch: some(0.1, 0.05), Spurious: some(0.3, 0.2),
		Few: some(0.4, 0.8), Split: some(0.5, 0.9), Latency: between(10*time.Microsecond, 30*time.Millisecond),
		Late: some(0.3, 0.1),
	}
	s.numOrigins, s.numSites, s.numClients = 1+r.IntN(3), 1+r.IntN(2), 1+r.IntN(24)
	if r.IntN(2) == 0 {
		s.numStreamers = 1 + r.IntN(8)
	}
	s.reactors = 1 + r.IntN(3)
	s.faulty, s.arrival = between(10*time.Second, 90*time.Second), between(time.Second, 20*time.Second)
	s.wait, s.think = between(3*time.Second, 25*time.Second), between(200*time.Millisecond, 8*time.Second)
	s.hold = s.wait + between(15*time.Second, 30*time.Second)
	s.outage, s.originLatency = between(time.Second, 50*time.Second), between(time.Millisecond, 50*time.Millisecond)
	if r.IntN(4) == 0 {
		s.creation = k.Upto(6 * time.Second)
	}
	if r.IntN(4) > 0 {
		s.troubleEvery = between(2*time.Second, 30*time.Second)
	}
	if r.IntN(2) == 0 {
		s.pestEvery = between(100*time.Millisecond, 5*time.Second)
	}
	for _, t := range allTroubles {
		if r.IntN(4) == 0 {
			s.troubles = append(s.troubles, t)
		}
	}
	if len(s.troubles) == 0 {
		s.troubleEvery = 0
	}
	s.big, s.stale, s.refusal = some(0.4, 0.5), some(0.3, 0.5), some(0.2, 0.3)
	s.chunked, s.closes, s.pipelines = some(0.4, 1), some(0.3, 1), some(0.7, 2)
	s.slow, s.hangs, s.stallChance = some(0.4, 1), some(0.4, 0.1), some(0.3, 0.01)
	s.quits = some(0.4, 0.2)
	s.draw(k)
	s.descriptors = 4096
	if r.IntN(5) == 0 {
		s.calmDown()
	} else if r.IntN(4) == 0 {
		own := fdtable.Layout{Reactors: s.reactors, Listeners: 1, Links: 2 * s.numOrigins}
		s.descriptors = own.Shared() + s.config.MaxConnections + r.IntN(20)
	}
	return s
}

// calmDown leaves only faults that no client may notice.
func (s *swarm) calmDown() {
	f, c := &s.faults, &s.config
	f.Accept, f.Socket, f.Watch, f.Late, s.stallChance = 0, 0, 0, 0, 0
	s.troubleEvery, s.creation = 0, 0
	c.MaxConnections, c.MinCreations, c.MaxCreations = roomy, 0, 0
	c.LinkHighWater, c.MaxOutputBytes, c.MaxBufferedBytes = 0, 0, 0
}

// roomy is more connections than there are clients of all kinds.
const roomy = 200

// draw draws the configuration of the edges.
func (s *swarm) draw(k *sys.Kernel) {
	r := k.Rand
	c := &s.config
	c.Name, c.Listen, c.Reactors, c.DescriptorTables = "edge", "10.1.0.1:5280", s.reactors, "off"
	c.MaxConnections = roomy
	c.HoldTimeout, c.IdleTimeout = s.hold, 10*time.Second+k.Upto(time.Minute)
	c.Grace = 5*time.Second + k.Upto(30*time.Second)
	c.LostJitter = time.Second + k.Upto(5*time.Second)
	c.DrainTimeout, c.DrainJitter = 10*time.Second+k.Upto(30*time.Second), time.Second+k.Upto(5*time.Second)
	c.PingTimeout = 6*time.Second + k.Upto(10*time.Second)
	c.CreateTimeout, c.CreateWait = 5*time.Second+k.Upto(5*time.Second), 20*time.Second+k.Upto(20*time.Second)
	if r.IntN(3) == 0 {
		c.MaxConnections = 2*s.numClients + s.numStreamers + 8 + r.IntN(40)
	}
	c.KeepAlive = 20*time.Second + k.Upto(20*time.Second)
	c.WebSocketPing = 5*time.Second + k.Upto(30*time.Second)
	if r.IntN(4) == 0 {
		c.MaxPipelined = 1 + r.IntN(3)
	}
	if r.IntN(4) == 0 {
		c.MinCreations, c.MaxCreations = 1, 1+r.IntN(3)
	}
	if r.IntN(5) == 0 {
		c.LinkHighWater = 4096 + r.IntN(60_000)
	}
	if r.IntN(4) == 0 && s.think > time.Second {
		c.MessageRate = 2 + r.IntN(6)
	}
	if r.IntN(6) == 0 {
		c.MaxConnections = 2*s.numClients + s.numStreamers + 2*s.reactors
	}
	if r.IntN(3) == 0 {
		c.Secret = []byte("the secret of edges and origins")
	}
	if r.IntN(6) == 0 {
		c.Tags = "on"
	}
	if r.IntN(4) == 0 {
		c.MaxOutputBytes, c.MaxBufferedBytes = 256<<10, 256<<10+r.IntN(2<<20)
	}
	for i := range s.numOrigins {
		c.Origins = append(c.Origins, config.Origin{Name: originName(i), Address: originAddress(i).String()})
	}
}
