package edge

import (
	"fmt"

	"megaphone/config"
	"megaphone/loop"
)

// Reload puts a configuration in force while the edge runs. It applies all of it or nothing: if it returns an error,
// the old configuration stays.
//
// Each reactor switches between two requests. Keys that need a restart keep their old values, and restart names those
// that differ. Connections, held requests and sessions stay as they are. Running deadlines are not changed.
func (e *Edge) Reload(cfg *config.Values) (restart []string, err error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if cfg, restart, err = cfg.After(e.settings().cfg); err != nil {
		return restart, err
	}
	if room := e.group.LinkRoom(); cfg.MaxLinks() > room {
		return restart, &config.KeyError{Key: "origins", Value: len(cfg.Origins),
			Remedy: fmt.Sprintf("this process has reserved descriptors for links to %d: restart it with a higher "+
				"RLIMIT_NOFILE (LimitNOFILE=) or fewer max-connections", room/2)}
	}
	places, waiting := e.directory.find(e.ending, cfg.Origins)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(newSettings(cfg, &e.options, places, waiting))
	e.options.setLevel(cfg)
	return restart, nil
}

// put hands settings to every reactor. The caller holds e.mu.
func (e *Edge) put(s *settings) {
	old := e.current
	s.after(old)
	e.current = s
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) { h.(*worker).apply(s) })
	if a := s.admission; a.table != nil && a.limits != old.admission.limits {
		a.table.Forget()
	}
	logPlaces(e.options.Log, old.places, s.places)
}
