package loop

import (
	"slices"
	"time"

	"megaphone/loop/sys"
)

// Listeners returns the group's listeners with copies of all their sockets. Another group, in this process or another,
// can serve them as its Config.Listen. The caller closes the files.
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

// Accept starts accepting if Config.AcceptLater is set.
func (g *Group) Accept() (err error) {
	g.Do(func(r *Reactor, _ Handler) {
		if err == nil {
			err = r.beginAccepting()
		}
	})
	return err
}

// StopAccepting closes the listeners and leaves the connections alone. kept marks, by index, the listeners that another
// group has copies of. Their sockets live on, with the clients waiting in them. The other listeners first accept all
// waiting clients.
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

// Behind returns the time since the slowest reactor last advanced its clock: a tenth of a second in normal operation.
// It is meaningless with ManualTicks.
func (g *Group) Behind() (most time.Duration) {
	for _, r := range g.reactors {
		most = max(most, sys.Since(r.started)-time.Duration(r.turned.Load()))
	}
	return most
}

// Keeps reports for each listener whether its address is among addresses, which have the form used by Listeners.
func (g *Group) Keeps(addresses []string) (kept []bool) {
	for _, l := range g.listens {
		kept = append(kept, slices.Contains(addresses, l.String()))
	}
	return kept
}

// SameAddress reports whether a and b are the same listener address.
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
