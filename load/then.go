package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is a scenario of a run, and how long it takes.
type step struct {
	scenario Scenario
	duration time.Duration
}

// steps are the scenario, and those of Then: "chat,broadcast", or with a time of their own "chat=2m,broadcast=30s".
func (c *Config) steps() ([]step, error) {
	list := []step{{c.Scenario, c.Duration}}
	if c.Then == "" {
		return list, nil
	}
	may := []Scenario{Hold, Chat, Broadcast}
	for part := range strings.SplitSeq(c.Then, ",") {
		name, text, timed := strings.Cut(strings.TrimSpace(part), "=")
		s := step{Scenario(name), c.Duration}
		if !slices.Contains(may, c.Scenario) || !slices.Contains(may, s.scenario) {
			return nil, fmt.Errorf("then: %s: one or more of %s can follow one of these", c.Then, join(may))
		}
		if slices.ContainsFunc(list, func(o step) bool { return o.scenario == s.scenario }) {
			return nil, fmt.Errorf("then: %s: %s would come twice", c.Then, s.scenario)
		}
		if timed {
			var err error
			if s.duration, err = time.ParseDuration(text); err != nil || s.duration < time.Second ||
				s.duration > MaxDuration {
				return nil, fmt.Errorf("then: %s: use 1s to %s, for example %s=2m", part, MaxDuration, name)
			}
		}
		list = append(list, s)
	}
	return list, nil
}
