package loop

import (
	"slices"
	"time"
)

// Listeners are the listeners with copies of all their sockets, for another group, in this process or another, to serve
// as its Config.Listen. The caller closes the files.
func (g *Group) Listeners() ([]Listener, error) {
	all := make([]Listener, 0, len(g.listens))
	for _, l := range g.listens {
		files, err := l.files()
		if err != nil {
			for _, have := range all {
				closeFiles(have.Files)
			}
			return nil, err
		}
		all = append(all, Listener{Address: l.String(), Files: files})
	}
	return all, nil
}

// Accept begins to accept, with Config.AcceptLater.
func (g *Group) Accept() (err error) {
	g.Do(func(r *Reactor, _ Handler) {
		if err == nil {
			err = r.beginAccepting()
		}
	})
	return err
}

// StopAccepting closes the listeners and leaves the connections alone. Of those that are kept, by index, another group
// has copies: their sockets live on with who waits in them. The others take who waits, and end.
func (g *Group) StopAccepting(kept []bool) {
	kept = append(kept[:len(kept):len(kept)], make([]bool, max(0, len(g.listens)-len(kept)))...)
	for i, l := range g.listens {
		l.close()
		if kept[i] {
			l.made = nil
		}
		l.remove()
	}
	g.Do(func(r *Reactor, _ Handler) { r.stopAccepting(kept) })
}

// Behind is how long ago the reactor that is furthest behind last saw the time move: a tenth of a second when all is
// well. (With ManualTicks it says nothing.)
func (g *Group) Behind() (most time.Duration) {
	for _, r := range g.reactors {
		most = max(most, time.Since(r.born)-time.Duration(r.turned.Load()))
	}
	return most
}

// Keeps says of each listener whether its address is among those given, in the form that Listeners has them.
func (g *Group) Keeps(addresses []string) (kept []bool) {
	for _, l := range g.listens {
		kept = append(kept, slices.Contains(addresses, l.String()))
	}
	return kept
}

// SameAddress says whether two listeners' addresses are one.
func SameAddress(a, b string) bool {
	if a == b {
		return true
	}
	_, isUnix := unixPath(a)
	if _, also := unixPath(b); isUnix || also {
		return false
	}
	x, errX := resolveListen(a)
	y, errY := resolveListen(b)
	return errX == nil && errY == nil && x == y
}
