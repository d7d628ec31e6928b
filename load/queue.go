package load

// queue is a FIFO of sessions that wait to open a connection, linked through session.next. A session is in one list at
// a time: this one or a back-off's.
type queue struct {
	first, last uint32 // index+1
	n           int
}

func (u *queue) push(sessions []session, i uint32) {
	s := &sessions[i]
	if s.flags&flagWaiting != 0 {
		return
	}
	s.flags |= flagWaiting
	if u.last == 0 {
		u.first = i + 1
	} else {
		sessions[u.last-1].next = i + 1
	}
	u.last = i + 1
	u.n++
}

func (u *queue) pop(sessions []session) (i uint32, ok bool) {
	if u.first == 0 {
		return 0, false
	}
	i = u.first - 1
	s := &sessions[i]
	u.first = s.next
	if u.first == 0 {
		u.last = 0
	}
	s.next, s.flags = 0, s.flags&^flagWaiting
	u.n--
	return i, true
}
