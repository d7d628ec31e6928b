//go:build !sim

package loop

// launch runs a reactor on a goroutine of its own, which calls begin first. It returns when begin has.
func (g *Group) launch(r *Reactor, begin func() error) error {
	serving := make(chan error, 1)
	go func() {
		err := begin()
		serving <- err
		if err == nil {
			g.ran(r, r.run())
		}
	}()
	return <-serving
}

// await waits until done is closed or the reactor has ended.
func (g *Group) await(r *Reactor, done <-chan struct{}) {
	select {
	case <-done:
	case <-r.ended:
	}
}
