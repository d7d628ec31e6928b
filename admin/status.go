package admin

import (
	"fmt"
	"strings"
	"time"

	"megaphone/edge"
	"megaphone/loop"
)

// Status is the content of /status. All numbers of events count from the start of the edge. For rates, take two
// statuses and divide by the difference of their Times.
type Status struct {
	Name          string         `json:"name"`
	Version       string         `json:"version"`
	Time          float64        `json:"time"` // seconds since 1970
	UptimeSeconds float64        `json:"uptime_seconds"`
	Ready         bool           `json:"ready"`
	Draining      bool           `json:"draining"`
	Reasons       []string       `json:"reasons"` // why it is not ready
	Connections   uint64         `json:"connections"`
	Holds         uint64         `json:"holds"`
	Waiting       uint64         `json:"creations_waiting"` // session creations that wait for an origin with room
	Limits        edge.Limits    `json:"limits"`
	Counts        Counts         `json:"counts"`
	Refusals      []RefusalCount `json:"refusals"`
	HoldSeconds   edge.Histogram `json:"hold_seconds"`
	Origins       []OriginStatus `json:"origins"`
	Reactors      []Reactor      `json:"reactors"`
	PrivateTables bool           `json:"private_tables"`
	Memory        Memory         `json:"memory"`
	Descriptors   Descriptors    `json:"descriptors"`
	Go            GoRuntime      `json:"go"`
	CPUSeconds    float64        `json:"cpu_seconds"`
	LogDropped    uint64         `json:"log_dropped"`

	view *edge.View
}

// Counts are the events whose rates are usually wanted.
type Counts struct {
	Accepted     uint64 `json:"accepted"`
	Requests     uint64 `json:"requests"`
	Parked       uint64 `json:"parked"`
	Released     uint64 `json:"released"`
	Gone         uint64 `json:"gone"`
	FramesIn     uint64 `json:"frames_in"`
	FramesOut    uint64 `json:"frames_out"`
	BytesIn      uint64 `json:"bytes_in"`
	BytesOut     uint64 `json:"bytes_out"`
	LinkBytesIn  uint64 `json:"link_bytes_in"`
	LinkBytesOut uint64 `json:"link_bytes_out"`
	StaleReplies uint64 `json:"stale_replies"`
	LinkFailures uint64 `json:"link_failures"`
}

// RefusalCount is one class of refusals; classes that have not occurred are included.
type RefusalCount struct {
	Reason string `json:"reason"`
	What   string `json:"what"`
	Ours   bool   `json:"ours"`
	Count  uint64 `json:"count"`
}

// OriginStatus is one origin over all reactors.
type OriginStatus struct {
	Name      string         `json:"name"`
	Address   string         `json:"address"`
	LinksUp   int            `json:"links_up"`
	Links     int            `json:"links"`
	Draining  bool           `json:"draining"`
	Held      uint64         `json:"held"`
	Unsent    uint64         `json:"unsent_bytes"`
	Ejected   bool           `json:"ejected"`   // its session creations fail, so it gets only trials
	Share     float64        `json:"share"`     // the fraction of its weight that counts: less than 1 in its slow-start
	Creations uint64         `json:"creations"` // in progress
	Most      uint64         `json:"creations_max"`
	Failed    uint64         `json:"creations_failed"`
	Latency   edge.Histogram `json:"latency_seconds"`
	RoundTrip edge.Histogram `json:"round_trip_seconds"`
}

// Reactor is one event loop.
type Reactor struct {
	Connections uint64 `json:"connections"`
	Holds       uint64 `json:"holds"`
	Requests    uint64 `json:"requests"`
	Turns       uint64 `json:"turns"`
	Buffered    uint64 `json:"buffered_bytes"`
}

// newStatus converts a view to a status.
func newStatus(v *edge.View, draining bool) *Status {
	s := &Status{Name: v.Name, Time: float64(v.At.UnixMilli()) / 1000, Draining: draining,
		UptimeSeconds: v.At.Sub(v.Started).Round(time.Millisecond).Seconds(),
		Connections:   v.Loop(loop.OpenNow), Holds: v.Edge(edge.HeldNow), Waiting: v.Edge(edge.CreationsWaiting),
		Limits:      v.Limits,
		HoldSeconds: v.Holds, PrivateTables: v.Private, view: v,
	}
	s.Counts = Counts{Accepted: v.Loop(loop.Accepted), Requests: v.Edge(edge.Requests), Parked: v.Edge(edge.Parked),
		Released: v.Edge(edge.Released), Gone: v.Edge(edge.Gone),
		FramesIn: v.Edge(edge.FramesIn), FramesOut: v.Edge(edge.FramesOut),
		BytesIn: v.Loop(loop.BytesIn), BytesOut: v.Loop(loop.BytesOut),
		LinkBytesIn: v.Loop(loop.LinkBytesIn), LinkBytesOut: v.Loop(loop.LinkBytesOut),
		StaleReplies: v.Edge(edge.StaleReplies), LinkFailures: v.Loop(loop.LinkFailures)}
	for _, r := range edge.Refusals {
		s.Refusals = append(s.Refusals, RefusalCount{r.Reason, r.What, r.Ours, r.Count(v)})
	}
	for i := range v.Reactors {
		r := &v.Reactors[i]
		s.Reactors = append(s.Reactors, Reactor{r.Loop[loop.OpenNow], r.Edge[edge.HeldNow], r.Edge[edge.Requests],
			r.Loop[loop.Turns], r.Loop[loop.BufferedNow]})
	}
	for i := range v.Origins {
		s.Origins = append(s.Origins, originStatus(&v.Origins[i]))
	}
	s.Reasons = notReady(v, draining)
	s.Ready = len(s.Reasons) == 0
	return s
}

func originStatus(o *edge.OriginView) OriginStatus {
	c := &o.Creations
	s := OriginStatus{Name: o.Name, Address: o.Address, Links: len(o.Links), Ejected: c.Ejected, Share: c.Share,
		Creations: c.UnderWay, Most: c.Most, Failed: c.Failed, Latency: o.Latency, RoundTrip: o.RoundTrip}
	for _, l := range o.Links {
		if l.Up {
			s.LinksUp++
		}
		s.Draining = s.Draining || l.Draining
		s.Held += l.Held
		s.Unsent += l.Unsent
	}
	return s
}

// notReady returns the reasons why no new clients should be sent here. There are none if each reactor has a link to
// some origin and the edge does not drain.
func notReady(v *edge.View, draining bool) []string {
	reasons := []string{}
	if draining {
		reasons = append(reasons, "the edge is draining")
	}
	for i := range v.Reactors {
		up := false
		var names []string
		for _, o := range v.Origins {
			up = up || o.Links[i].Up
			names = append(names, o.Name)
		}
		if !up {
			reasons = append(reasons, fmt.Sprintf("reactor %d has no link to any origin (%s)", i,
				strings.Join(names, ", ")))
		}
	}
	return reasons
}
