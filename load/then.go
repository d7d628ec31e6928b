package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is a scenario of a run with its duration.
type step struct {
	scenario Scenario
	phase    string // its name, with " 2" behind it the second time
	duration time.Duration
}

// steps returns the scenario and those of Then: "chat,broadcast", or with their own durations "chat=2m,broadcast=30s".
func (c *Config) steps() ([]step, error) {
	list := []step{{c.Scenario, string(c.Scenario), c.Duration}}
	if c.Then == "" {
		return list, nil
	}
	may := []Scenario{Hold, Chat, Broadcast}
	for part := range strings.SplitSeq(c.Then, ",") {
		name, text, timed := strings.Cut(strings.TrimSpace(part), "=")
		s := step{Scenario(name), name, c.Duration}
		if !slices.Contains(may, c.Scenario) || !slices.Contains(may, s.scenario) {
			return nil, fmt.Errorf("then: %s: one or more of %s can follow one of these", c.Then, join(may))
		}
		times := 1
		for _, o := range list {
			if o.scenario == s.scenario {
				times++
			}
		}
		switch {
		case times == 2 && s.scenario != Broadcast:
			s.phase += " 2"
		case times > 1:
			return nil, fmt.Errorf("then: %s: broadcast can come once, hold and chat twice", c.Then)
		}
		if timed {
			var err error
			if s.duration, err = time.ParseDuration(text); err != nil || s.duration < time.Second ||
				s.duration > maxDuration {
				return nil, fmt.Errorf("then: %s: use 1s to %s, for example %s=2m", part, maxDuration, name)
			}
		}
		list = append(list, s)
	}
	return list, nil
}
