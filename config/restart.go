package config

import (
	"fmt"
	"reflect"
)

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
