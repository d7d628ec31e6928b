package edge

import (
	"fmt"
	"reflect"
	"strings"

	"megaphone/loop"
)

// Reload puts a configuration in force while the edge runs. If anything in it is wrong, nothing of it is: err says
// what, and the old one stays. Otherwise each reactor takes all of it between two requests, but for the keys that need
// a restart: restart names those that differ, and they keep their old values. Connections, held requests and sessions
// stay as they are; deadlines that run already run to their end.
func (e *Edge) Reload(cfg Config) (restart []string, err error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Secret == nil && cfg.SecretFile != "" {
		if cfg.Secret, err = ReadSecret(cfg.SecretFile); err != nil {
			return nil, err
		}
	}
	old := e.settings().cfg
	cfg.Pages, cfg.Log, cfg.Level, cfg.Resolver, cfg.ManualTicks =
		old.Pages, old.Log, old.Level, old.Resolver, old.ManualTicks
	restart = keepForRestart(configKeys, "", &old, &cfg)
	if err := cfg.Validate(); err != nil { // it may not go with the values that stay
		return restart, fmt.Errorf("%w (%s needs a restart)", err, strings.Join(restart, ", "))
	}
	if room := e.group.LinkRoom(); linksFor(cfg.Origins) > room {
		return restart, bad("origins", len(cfg.Origins), fmt.Sprintf("this process keeps descriptors for links to %d: "+
			"restart it, with a higher RLIMIT_NOFILE (LimitNOFILE=) or fewer max-connections", room/2))
	}
	places, waiting := e.directory.find(e.ending, cfg.Origins)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(newSettings(cfg, places, waiting))
	cfg.setLevel()
	return restart, nil
}

// keepForRestart gives what only a restart can change its old value again, and the paths of what would be another.
func keepForRestart[T any](keys []Key[T], under string, old, now *T) (restart []string) {
	for i := range keys {
		k := &keys[i]
		if was, is := k.Value(old), k.Value(now); !k.Reload && !reflect.DeepEqual(was, is) {
			if inner, ok := keepInList(under+k.Name, was, is); ok {
				restart = append(restart, inner...)
				continue
			}
			restart = append(restart, under+k.Name)
			reflect.ValueOf(is).Elem().Set(reflect.ValueOf(was).Elem())
		}
	}
	return restart
}

// keepInList does that for the entries of a list, if there are as many as before; otherwise the list has changed.
func keepInList(path string, was, is any) (restart []string, ok bool) {
	before, isList := was.(*[]Listener)
	if !isList || len(*before) != len(*is.(*[]Listener)) {
		return nil, false
	}
	for i := range *before {
		under := fmt.Sprintf("%s[%d].", path, i)
		restart = append(restart, keepForRestart(listenerKeys, under, &(*before)[i], &(*is.(*[]Listener))[i])...)
	}
	return restart, true
}

// put hands settings to every reactor. e.mu is held.
func (e *Edge) put(s *settings) {
	old := e.current
	s.after(old)
	e.current = s
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) { h.(*worker).apply(s) })
	if a := s.admission; a.table != nil && a.limits != old.admission.limits {
		a.table.Forget()
	}
	logPlaces(s.cfg.Log, old.places, s.places)
}
