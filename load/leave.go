package load

// bye sends the terminate of session i.
func (w *worker) bye(i uint32) {
	s := &w.sessions[i]
	s.flags &^= flagLeaving
	s.stage = stageEnding
	w.ending++
	w.counters[cUpNow]--
	w.transport.ask(i, kindTerminate, 0, 0)
}

// goAway ends session i as soon as it may send a terminate. One that was up and is away ends when it is back.
func (w *worker) goAway(i uint32) {
	s := &w.sessions[i]
	if s.stage >= stageEnding || s.flags&flagReached == 0 {
		return
	}
	s.flags |= flagLeaving
	if s.stage == stageUp && s.flags&flagWaiting == 0 {
		w.transport.pump(i)
	}
}

// leave ends the sessions that are due, in order, as fast as the server permits.
func (w *worker) leave(now stamp) {
	for n := w.leaves.due(now); n > 0 && w.left < len(w.sessions) && w.ending < w.spare; n-- {
		w.leaves.done++
		w.goAway(uint32(w.left))
		w.left++
	}
}

// churn ends the sessions that are due. They reopen by themselves.
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
