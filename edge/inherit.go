package edge

import "megaphone/loop"

// adopt gives listeners the inherited sockets of their addresses, and returns the addresses that were taken, as they
// were given.
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

// Adopted are the addresses of Config.Inherited whose sockets our listeners have.
func (e *Edge) Adopted() []string { return e.adopted }

// Listeners are the listeners with copies of all their sockets, for a successor. The caller closes the files.
func (e *Edge) Listeners() ([]loop.Listener, error) { return e.group.Listeners() }

// Keeps says, by index, which listeners are among the given addresses, in the form that Listeners has them.
func (e *Edge) Keeps(addresses []string) []bool { return e.group.Keeps(addresses) }
