//go:build sim

package loop

import "megaphone/loop/sys"

// launch prepares a reactor on the caller's goroutine. Group.Turn runs it.
func (g *Group) launch(_ *Reactor, begin func() error) error { return begin() }

// await steps a reactor until done is closed or the reactor has ended.
func (g *Group) await(r *Reactor, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-r.ended:
			return
		default:
			sys.Pass()
			g.step(r)
		}
	}
}

// Turn makes one turn of reactor i. It reports whether there was any work.
func (g *Group) Turn(i int) (worked bool) { return g.step(g.reactors[i]) }

func (g *Group) step(r *Reactor) (worked bool) {
	select {
	case <-r.ended:
		return false
	default:
	}
	worked, err := r.turn(false)
	if err != nil {
		g.ran(r, err)
	}
	return worked
}
