package edge

import (
	"fmt"
	"reflect"
	"strings"

	"megaphone/loop"
)

// Reload puts a configuration in force while the edge runs. It applies all of it or nothing: if it returns an error,
// the old configuration stays.
//
// Each reactor switches between two requests. Keys that need a restart keep their old values, and restart names those
// that differ. Connections, held requests and sessions stay as they are. Running deadlines are not changed.
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
	if err := cfg.Validate(); err != nil { // it may not fit the values that stay
		return restart, fmt.Errorf("%w (%s needs a restart)", err, strings.Join(restart, ", "))
	}
	if room := e.group.LinkRoom(); linksFor(cfg.Origins) > room {
		return restart, bad("origins", len(cfg.Origins), fmt.Sprintf("this process has reserved descriptors for "+
			"links to %d: restart it with a higher RLIMIT_NOFILE (LimitNOFILE=) or fewer max-connections", room/2))
	}
	places, waiting := e.directory.find(e.ending, cfg.Origins)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(newSettings(cfg, places, waiting))
	cfg.setLevel()
	return restart, nil
}

// keepForRestart restores the old values of keys that need a restart, and returns the paths of those that differ.
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

// keepInList does that for the entries of a list. ok is false if it is no list of listeners, or their number has
// changed.
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

// put hands settings to every reactor. The caller holds e.mu.
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
