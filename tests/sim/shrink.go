//go:build sim

package sim

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"megaphone/loop/sys"
)

// reduction takes something out of a history. All else that was drawn stays the same.
type reduction struct {
	name  string
	apply func(s *swarm)
}

// reductions returns all that can be taken out.
func reductions() (all []reduction) {
	add := func(name string, apply func(s *swarm)) { all = append(all, reduction{name, apply}) }
	for _, t := range allTroubles {
		add(t, func(s *swarm) {
			s.troubles = slices.DeleteFunc(slices.Clone(s.troubles), func(u string) bool { return u == t })
			if len(s.troubles) == 0 {
				s.troubleEvery = 0
			}
		})
	}
	for f := range reflect.TypeFor[sys.Faults]().Fields() {
		if f.Type.Kind() == reflect.Float64 {
			add(f.Name, func(s *swarm) { reflect.ValueOf(&s.faults).Elem().FieldByIndex(f.Index).SetZero() })
		}
	}
	for name, field := range map[string]func(s *swarm) *float64{
		"large messages":      func(s *swarm) *float64 { return &s.big },
		"stale replies":       func(s *swarm) *float64 { return &s.stale },
		"refusals":            func(s *swarm) *float64 { return &s.refusal },
		"chunks":              func(s *swarm) *float64 { return &s.chunked },
		"Connection: close":   func(s *swarm) *float64 { return &s.closes },
		"pipelining":          func(s *swarm) *float64 { return &s.pipelines },
		"slow clients":        func(s *swarm) *float64 { return &s.slow },
		"hanging up":          func(s *swarm) *float64 { return &s.hangs },
		"quitting":            func(s *swarm) *float64 { return &s.quits },
		"reactors that stall": func(s *swarm) *float64 { return &s.stallChance },
	} {
		add(name, func(s *swarm) { *field(s) = 0 })
	}
	add("pests", func(s *swarm) { s.pestEvery = 0 })
	add("streamers", func(s *swarm) { s.numStreamers = 0 })
	add("slow creations", func(s *swarm) { s.creation = 0 })
	add("low limits", func(s *swarm) {
		c := &s.config
		c.MaxConnections, c.MaxPipelined, c.MinCreations, c.MaxCreations, c.MessageRate = roomy, 0, 0, 0, 0
		c.LinkHighWater, c.MaxOutputBytes, c.MaxBufferedBytes, s.descriptors = 0, 0, 0, 4096
	})
	add("other origins", func(s *swarm) { s.numOrigins, s.config.Origins = 1, s.config.Origins[:1] })
	add("other sites", func(s *swarm) { s.numSites = 1 })
	add("other reactors", func(s *swarm) { s.reactors = 1 })
	for range 4 {
		add("half of the clients", func(s *swarm) { s.numClients = (s.numClients + 1) / 2 })
	}
	slices.SortStableFunc(all, func(a, b reduction) int { return strings.Compare(a.name, b.name) })
	return all
}

// shrink takes as much out of the history of a failure as it can within d, while some failure stays. It returns that of
// the smaller history. try runs a history whose swarm is changed.
func shrink(f *Failure, d time.Duration, try func(change func(s *swarm)) *Failure) *Failure {
	var taken []reduction
	smaller := *f
	for began, all := time.Now(), reductions(); len(all) > 0 && time.Since(began) < d; all = all[1:] {
		more := append(slices.Clone(taken), all[0])
		failure := try(func(s *swarm) {
			for _, r := range more {
				r.apply(s)
			}
		})
		if failure != nil {
			taken, smaller = more, *failure
		}
	}
	names := make([]string, 0, len(taken))
	for _, r := range taken {
		names = append(names, r.name)
	}
	smaller.What = fmt.Sprintf("%s (without %s)", smaller.What, strings.Join(names, ", "))
	return &smaller
}
