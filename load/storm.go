package load

import "time"

// arrivals counts the requests of a worker's sessions in each tenth of a second of a storm.
type arrivals struct {
	since                   stamp
	clients, requests, back []uint32
	up                      uint32 // sessions that are back
}

// tenth returns the index of a time.
func (a *arrivals) tenth(now stamp) int {
	at := int(now.since(a.since) / (100 * time.Millisecond))
	for len(a.requests) <= at {
		a.requests, a.clients, a.back = append(a.requests, 0), append(a.clients, 0), append(a.back, a.up)
	}
	return at
}

// count records a sent request. again: its client retries or logs in.
func (a *arrivals) count(now stamp, again bool) {
	at := a.tenth(now)
	a.requests[at]++
	if again {
		a.clients[at]++
	}
}

// tick records the number of sessions that are back.
func (a *arrivals) tick(now stamp) { a.back[a.tenth(now)] = a.up }

// add adds the arrivals of a worker.
func (s *StormReport) add(a *arrivals) {
	s.Requests, s.Clients, s.Back = addTo(s.Requests, a.requests), addTo(s.Clients, a.clients), addLevel(s.Back, a.back)
}

func addTo(sum, part []uint32) []uint32 {
	for len(sum) < len(part) {
		sum = append(sum, 0)
	}
	for i, n := range part {
		sum[i] += n
	}
	return sum
}

// addLevel is addTo for a level, which keeps its last value beyond the end of a list.
func addLevel(sum, part []uint32) []uint32 {
	both := make([]uint32, max(len(sum), len(part)))
	for i := range both {
		for _, list := range [][]uint32{sum, part} {
			if len(list) > 0 {
				both[i] += list[min(i, len(list)-1)]
			}
		}
	}
	return both
}

// sum finds the tenth of a second in which most clients came.
func (s *StormReport) sum(sessions int) {
	for _, n := range s.Clients {
		s.Most = max(s.Most, n)
	}
	s.Share = round(float64(s.Most) / float64(sessions))
}

// inquire sends pings (XEP-0199) from sessions that are back. With BOSH the pong comes with the answer to their older
// request. Its delay is what users notice of the storm.
func (w *worker) inquire(now stamp) {
	if w.cfg.Login == LoginNone {
		return // servers accept no stanzas before the log-in
	}
	for n := w.asks.due(now); n > 0; n-- {
		w.asks.done++
		for range maxPicks {
			i := w.r.Rand().Uint32N(uint32(len(w.sessions)))
			s := &w.sessions[i]
			const may, mayNot = flagBack, flagWaiting | flagLeaving
			if s.stage == stageUp && s.flags&(may|mayNot) == may && w.transport.mayPing(i, now) {
				w.transport.ask(i, kindPing, 0, now)
				break
			}
		}
	}
}
