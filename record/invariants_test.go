//go:build invariants

package record

import "testing"

// TestNonceReuseIsFound: a state that returns to an earlier value panics before it seals.
func TestNonceReuseIsFound(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		server, _ := newEnds(t, c)
		earlier := server.State
		server.seal(t, "one")
		server.State = earlier
		defer func() {
			if recover() == nil {
				t.Error("a nonce was used twice")
			}
		}()
		server.seal(t, "two")
	})
}
