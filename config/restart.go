package config

import (
	"fmt"
	"reflect"
)

// keepForRestart restores the old values of keys that need a restart, and returns the paths of those that differ.
func keepForRestart[T, V any](keys []Key[T, V], under string, old, now *T) (restart []string) {
	for i := range keys {
		k := &keys[i]
		if was, is := k.Value(old), k.Value(now); !k.Reload && !reflect.DeepEqual(was, is) {
			if inner, ok := keepInside(under+k.Name, was, is); ok {
				restart = append(restart, inner...)
				continue
			}
			restart = append(restart, under+k.Name)
			reflect.ValueOf(is).Elem().Set(reflect.ValueOf(was).Elem())
		}
	}
	return restart
}

// keepInside does that for the keys inside a value. ok is false if it has none, or must be kept as a whole: a list of
// listeners whose number has changed, or a listener that has TLS on one side only.
func keepInside(path string, was, is any) (restart []string, ok bool) {
	switch before := was.(type) {
	case *[]Listener:
		now := is.(*[]Listener)
		if len(*before) != len(*now) {
			return nil, false
		}
		for i := range *before {
			under := fmt.Sprintf("%s[%d].", path, i)
			restart = append(restart, keepForRestart(listenerKeys, under, &(*before)[i], &(*now)[i])...)
		}
		return restart, true
	case *TLS:
		now := is.(*TLS)
		if before.on() != now.on() {
			return nil, false
		}
		return keepForRestart(tlsKeys, path+".", before, now), true
	}
	return nil, false
}
