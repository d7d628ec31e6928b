package edge

import (
	"time"

	"megaphone/loop"
)

// adopt gives listeners the inherited sockets at their addresses. It returns the adopted addresses as they were given.
func adopt(ours, inherited []loop.Listener) (taken []string) {
	for i := range ours {
		for _, l := range inherited {
			if loop.SameAddress(ours[i].Address, l.Address) {
				ours[i].Files = l.Files
				taken = append(taken, l.Address)
			}
		}
	}
	return taken
}

// Adopted returns the addresses of Options.Inherited whose sockets the edge has adopted.
func (e *Edge) Adopted() []string { return e.adopted }

// Listeners returns the listeners with copies of all their sockets, for a successor. The caller closes the files.
func (e *Edge) Listeners() ([]loop.Listener, error) { return e.group.Listeners() }

// Keeps reports, by index, which listeners are among the given addresses, in the form that Listeners has them.
func (e *Edge) Keeps(addresses []string) []bool { return e.group.Keeps(addresses) }

// Accept begins to accept, with Options.AcceptLater.
func (e *Edge) Accept() error { return e.group.Accept() }

// Behind returns how long ago the slowest reactor last turned.
func (e *Edge) Behind() time.Duration { return e.group.Behind() }

// Links returns the number of links to origins over all reactors, and how many of them are up.
func (e *Edge) Links() (all, up int) {
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) {
		for _, n := range h.(*worker).nodes {
			all++
			if n.stage == stageUp {
				up++
			}
		}
	})
	return all, up
}
