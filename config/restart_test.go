package config

import (
	"reflect"
	"slices"
	"testing"
)

// TestKeysOfEntriesThatNeedARestart: the entries keep their old values.
func TestKeysOfEntriesThatNeedARestart(t *testing.T) {
	var listeners = []Listener{{Address: "a:1", Mode: 0o600}, {Address: "b:1"}}
	now := []Listener{{Address: "a:1", Mode: 0o660}, {Address: "c:1"}}
	if got, ok := keepInside("listeners", &listeners, &now); !ok || !reflect.DeepEqual(now, listeners) ||
		!slices.Equal(got, []string{"listeners[0].mode", "listeners[1].address"}) {
		t.Errorf("of entries: %q, now %v", got, now)
	}
}
