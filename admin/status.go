package admin

import (
	"fmt"
	"strings"
	"time"

	"megaphone/acme"
	"megaphone/edge"
	"megaphone/stats"
)

// Status is the content of /status. All numbers of events count from the start of the edge. For rates, take two
// statuses and divide by the difference of their Times.
type Status struct {
	Name          string             `json:"name"`
	Version       string             `json:"version"`
	Time          float64            `json:"time"` // seconds since 1970
	UptimeSeconds float64            `json:"uptime_seconds"`
	Ready         bool               `json:"ready"`
	Draining      bool               `json:"draining"`
	Reasons       []string           `json:"reasons"` // why it is not ready
	Connections   uint64             `json:"connections"`
	Holds         uint64             `json:"holds"`
	Waiting       uint64             `json:"creations_waiting"` // session creations that wait for an origin with room
	Limits        edge.Limits        `json:"limits"`
	Counts        stats.Counters     `json:"counts"` // over all reactors
	Refusals      []RefusalCount     `json:"refusals"`
	HoldSeconds   stats.Distribution `json:"hold_seconds"`
	Origins       []OriginStatus     `json:"origins"`
	Reactors      []Reactor          `json:"reactors"`
	PrivateTables bool               `json:"private_tables"`
	Memory        Memory             `json:"memory"`
	Descriptors   Descriptors        `json:"descriptors"`
	Go            GoRuntime          `json:"go"`
	CPUSeconds    float64            `json:"cpu_seconds"`
	LogDropped    uint64             `json:"log_dropped"`

	Certificates []edge.CertificateView `json:"certificates"`
	ACME         []acme.State           `json:"acme"`

	view *edge.View
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
	Name      string             `json:"name"`
	Address   string             `json:"address"`
	LinksUp   int                `json:"links_up"`
	Links     int                `json:"links"`
	Draining  bool               `json:"draining"`
	Held      uint64             `json:"held"`
	Unsent    uint64             `json:"unsent_bytes"`
	Ejected   bool               `json:"ejected"`   // its session creations fail, so it gets only trials
	Share     float64            `json:"share"`     // of its weight: less than 1 in its slow-start
	Creations uint64             `json:"creations"` // in progress
	Most      uint64             `json:"creations_max"`
	Failed    uint64             `json:"creations_failed"`
	Latency   stats.Distribution `json:"latency_seconds"`
	RoundTrip stats.Distribution `json:"round_trip_seconds"`
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
	n := v.Counters()
	s := &Status{Name: v.Name, Time: float64(v.At.UnixMilli()) / 1000, Draining: draining,
		UptimeSeconds: v.At.Sub(v.Started).Round(time.Millisecond).Seconds(),
		Connections:   n[stats.OpenNow], Holds: n[stats.HeldNow], Waiting: n[stats.CreationsWaiting],
		Limits: v.Limits, Counts: n, HoldSeconds: v.Holds, PrivateTables: v.Private, view: v,
		Certificates: v.Certificates, ACME: v.ACME,
	}
	for c, r := range stats.Refusals() {
		s.Refusals = append(s.Refusals, RefusalCount{r.Reason, r.What, r.Ours, n[c]})
	}
	for i := range v.Reactors {
		r := &v.Reactors[i]
		s.Reactors = append(s.Reactors, Reactor{r[stats.OpenNow], r[stats.HeldNow], r[stats.Requests], r[stats.Turns],
			r[stats.BufferedNow]})
	}
	for i := range v.Origins {
		s.Origins = append(s.Origins, originStatus(&v.Origins[i]))
	}
	s.Reasons = notReady(v, draining)
	s.Ready = len(s.Reasons) == 0
	return s
}

func originStatus(o *edge.OriginView) OriginStatus {
	n := &o.Figures
	s := OriginStatus{Name: o.Name, Address: o.Address, Links: len(o.Links), Ejected: n[stats.OriginEjected] != 0,
		Share:     stats.OriginShare.Row().Value(n[stats.OriginShare]),
		Creations: n[stats.OriginCreations], Most: n[stats.OriginMaxCreations], Failed: n[stats.OriginFailedCreations],
		Latency: o.Creations, RoundTrip: o.RoundTrips}
	for i := range o.Links {
		l := &o.Links[i]
		s.LinksUp += int(l[stats.LinkUp])
		s.Draining = s.Draining || l[stats.LinkDraining] != 0
		s.Held += l[stats.LinkHolds]
		s.Unsent += l[stats.LinkUnsent]
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
			up = up || o.Links[i][stats.LinkUp] != 0
			names = append(names, o.Name)
		}
		if !up {
			reasons = append(reasons, fmt.Sprintf("reactor %d has no link to any origin (%s)", i,
				strings.Join(names, ", ")))
		}
	}
	return reasons
}
