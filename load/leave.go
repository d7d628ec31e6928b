package load

// bye has session i tell its server that it ends.
func (w *worker) bye(i uint32) {
	s := &w.sessions[i]
	s.flags &^= flagLeaving
	s.stage = stageEnding
	w.ending++
	w.counters[cUpNow]--
	w.ask(i, kindTerminate, 0, 0)
}

// goAway has session i end as soon as it may say so.
func (w *worker) goAway(i uint32) {
	s := &w.sessions[i]
	if s.stage != stageUp {
		return
	}
	s.flags |= flagLeaving
	if s.flags&flagWaiting == 0 {
		w.pump(i)
	}
}

// leave ends the sessions that are due to end, in order, as fast as the server lets them go.
func (w *worker) leave(now stamp) {
	for n := w.leaves.due(now); n > 0 && w.left < len(w.sessions) && w.ending < w.spare; n-- {
		w.leaves.done++
		w.goAway(uint32(w.left))
		w.left++
	}
}

// churn ends the sessions whose turn it is; they begin anew by themselves.
func (w *worker) churn(now stamp) {
	for n := w.churns.due(now); n > 0 && w.ending < w.spare; n-- {
		w.churns.done++
		for range len(w.sessions) {
			i := uint32(w.turned)
			w.turned = (w.turned + 1) % len(w.sessions)
			if s := &w.sessions[i]; s.stage == stageUp && s.flags&flagLeaving == 0 {
				w.goAway(i)
				break
			}
		}
	}
}
