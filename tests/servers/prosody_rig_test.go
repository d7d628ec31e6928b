package servers

import (
	"testing"

	"megaphone/tests/rig"
)

// prosody is a private one.
type prosody struct{ *peer }

// startProsody starts one with the given options of the script, and with accounts.
func startProsody(t testing.TB, options ...string) prosody {
	t.Helper()
	p := prosody{newPeer(t, "prosody", "prosody.log", options)}
	p.start()
	for _, name := range accounts {
		if _, err := p.run(rig.Patience, "adduser", p.dir, name, password); err != nil {
			t.Fatal(err)
		}
	}
	return p
}
