package gateway

import (
	"math"

	"megaphone/origin/link"
)

// The gateway sends the requests of a session to its endpoint in the order of their rids. Their replies leave in the
// same order. See the package documentation.
const (
	// A request precedes its successor by headStartFactor times its endpoint's recent time to read one, within these
	// bounds. ejabberd 23.01 swaps pairs up to 2 ms apart, and most pairs sent at once if the first one uses a fresh
	// socket.
	headStartFactor    = 4
	minHeadStartMicros = 25_000
	maxHeadStartMicros = 100_000
	// patienceMillis is how long a request waits for its predecessor. One in flight arrives in a few milliseconds, or
	// in seconds on a starved machine. The endpoint would have to wait for it as well.
	patienceMillis = 5_000
	// earlyMillis is how long at most an endpoint keeps a request whose predecessor does not come. By then it has ended
	// the session for inactivity, which is 30 s by default in ejabberd.
	earlyMillis = 60_000
	// replyPatienceMillis is how long a reply waits for its predecessor's, which may never come. Endpoints answer in
	// order, but on a starved machine the earlier reply may arrive seconds later.
	replyPatienceMillis = 5_000
	// strangerMillis is how long a request waits for older ones if its predecessor is unknown, or cannot still be in
	// flight. That is the first request seen of its session, or one beyond the session's window.
	strangerMillis = 10
	// fenceMillis is how long a reply waits for an earlier one to leave the edge.
	fenceMillis = 5_000
	// roomMillis is how often a reply that waits for room on its link is checked, besides the calls of room.
	roomMillis = 1_000
	// maxOrdered bounds the requests of a session that wait or have no reply. Further ones are sent without order.
	// Clients have two requests, and a few repeated ones.
	maxOrdered = 16
	// maxIdleMillis is how long a session without requests is remembered. It exceeds the inactivity limit of most
	// sessions.
	maxIdleMillis = 300_000
	// defaultWindow is the number of concurrent requests of a session whose creation was not seen.
	defaultWindow = 2

	never      = math.MaxInt64
	unknownRID = math.MaxUint64
)

// carrier sends requests and replies for an order.
type carrier interface {
	// send starts a request. It returns false if that is not possible now. Otherwise a call of order.ended follows.
	send(c *call) bool
	// refuse makes the client send a request again. The carrier makes no later call for it.
	refuse(c *call)
	// reply passes a reply to its link. The carrier makes no later call for it.
	reply(c *call)
	// alarm requests a call of order.run at the given time (ms) or a little later.
	alarm(at int64)
}

// order keeps the sessions of a gateway. The engine owns it.
type order struct {
	carrier  carrier
	stats    *Stats
	max      int // limit of sessions
	now      int64
	micros   func() int64 // the clock of the calls' goroutines
	sessions map[uint64]*session
	waiting  sessionList // sessions with something due at a time or when a fence is passed
	idle     sessionList // sessions without requests, in the order of their last use
	alarmAt  int64       // never: no alarm is set
}

// session is the order's state of one session.
type session struct {
	key   uint64
	last  uint64 // the highest rid that has been sent; unknownRID: none yet
	front *call  // the request with that rid, until it has ended
	// early: the request with rid last was sent without its predecessor, which has not been sent since. It is the time
	// (ms) until which the endpoint may keep it. 0: no.
	early int64
	queue *call // requests that wait to be sent, by rid
	open  *call // requests sent that have no reply or whose reply waits for its turn, by rid

	carried   link.Replier // the link of the last payload; nil: nothing to wait for
	carriedAt int64        // ms
	mark      uint32       // of that payload

	window  uint8
	ordered uint8 // the length of queue and open
	ended   bool  // the endpoint no longer knows it
	busy    bool  // step is running

	list       *sessionList
	prev, next *session
	at         int64 // ms; in waiting: when something is due; in idle: since when
}

// stage is the state of a call in its session.
type stage uint8

const (
	// It is in no session.
	stageNone stage = iota
	// It waits to be sent. next: stageOpen (its turn has come), stageNone (it was refused, or must be sent again)
	stageQueued
	// It was sent. next: stageReady (there is a reply), stageNone (it failed, or its client has gone)
	stageOpen
	// Its reply waits for its turn. next: stageNone (it has left, or its client has gone)
	stageReady
)

func newOrder(c carrier, stats *Stats, max int, micros func() int64) order {
	return order{carrier: c, stats: stats, max: max, micros: micros, sessions: map[uint64]*session{}, alarmAt: never}
}

// created records a new session, with the rid of its first request and its window, if known.
func (o *order) created(key, rid, window uint64) {
	if s := o.find(key); s != nil && s.last == unknownRID {
		s.last = rid
		if window > 0 {
			s.window = uint8(min(window, maxOrdered))
		}
		s.at = never
		o.place(s)
	}
}

// find returns a session, and creates it if needed. It returns nil if there are too many.
func (o *order) find(key uint64) *session {
	s := o.sessions[key]
	if s != nil {
		return s
	}
	if len(o.sessions) >= o.max {
		oldest := o.idle.first
		if oldest == nil {
			return nil
		}
		o.forget(oldest)
	}
	s = &session{key: key, last: unknownRID, window: defaultWindow, at: never}
	o.sessions[key] = s
	return s
}

// forget removes a session. Its requests in progress continue.
func (o *order) forget(s *session) {
	if o.sessions[s.key] == s {
		delete(o.sessions, s.key)
	}
	s.ended = true
	if s.list == &o.idle {
		s.list.remove(s)
	}
}

// arrive adds a request to its session. It returns false if the request must be sent without order.
func (o *order) arrive(c *call, key uint64) bool {
	s := o.find(key)
	if s == nil || s.ordered >= maxOrdered {
		return false
	}
	c.session, c.stage, c.at, c.before = s, stageQueued, o.now, unknownRID
	s.ordered++
	insert(&s.queue, c)
	o.step(s)
	if c.stage == stageQueued {
		o.stats.Queued++
	}
	return true
}

// sent reports that a request has been sent whose successor waits for that.
func (o *order) sent(c *call) { o.step(c.session) }

// ended reports the fate of a request that was sent. It has a reply if c.fate is fateAnswered. ended returns true if
// the order will reply in its turn.
func (o *order) ended(c *call) bool {
	s := c.session
	if c.fate.untaken() {
		if s.front == c {
			s.early = 0
		}
		s.reopen(c)
	}
	if s.front == c {
		switch {
		case c.fate == fateAborted && c.whenSent() != 0:
			c.left = true
		case c.fate.untaken():
			s.last = c.before
			o.refuseFrom(s, c.rid)
			fallthrough
		default:
			s.front = nil
		}
	}
	if f := s.front; f != nil && c.fate == fateAnswered && c.status == statusOK && !c.carries && c.rid < f.rid {
		if sentAt := f.whenSent(); sentAt != 0 && sentAt < c.answeredAt {
			f.read = true // otherwise the endpoint would still hold this one
			f.endpoint.tookToRead(c.answeredAt - sentAt)
		}
	}
	waits := c.stage == stageOpen && c.fate == fateAnswered
	if waits {
		c.stage, c.at = stageReady, o.now
	} else {
		o.takeOut(c)
	}
	if c.over && c.final {
		o.forget(s)
	}
	o.step(s)
	return waits
}

// quit removes a request from its session after its client has gone. Last words stay in the queue, because they are
// still sent.
func (o *order) quit(c *call, lastWords bool) {
	if c.stage == stageQueued && lastWords {
		return
	}
	o.takeOut(c)
	o.step(c.session)
}

// takeOut removes a call from its list.
func (o *order) takeOut(c *call) {
	switch s := c.session; c.stage {
	case stageNone:
		return
	case stageQueued:
		remove(&s.queue, c)
	default:
		remove(&s.open, c)
	}
	c.session.ordered--
	c.stage = stageNone
}

// refuseFrom refuses the queued requests behind the given rid.
func (o *order) refuseFrom(s *session, rid uint64) {
	for c := after(s.queue, rid); c != nil; c = after(s.queue, rid) {
		o.takeOut(c)
		o.carrier.refuse(c)
	}
}

// step does everything possible for a session now. Its actions may call it again, which has no effect.
func (o *order) step(s *session) {
	if s.busy {
		return
	}
	s.busy = true
	for again := true; again; {
		s.at = never
		again = o.replyNext(s) || o.sendNext(s) || o.dropFront(s)
	}
	s.busy = false
	o.place(s)
}

// sendNext sends one queued request if its turn has come.
func (o *order) sendNext(s *session) bool {
	for c := s.queue; c != nil; c = c.next {
		at := o.turn(s, c)
		if at > o.now {
			s.at = min(s.at, at)
			continue
		}
		switch {
		case o.repeatsEarly(s, c):
			o.takeOut(c)
			o.carrier.refuse(c)
			return true
		case s.last == unknownRID:
			c = s.queue
		case c.rid > s.last+1 && !s.ended:
			c = after(s.queue, s.last+1)
			o.stats.Unpreceded++
		}
		o.send(s, c)
		return true
	}
	return false
}

// send starts a queued request. If that fails, it also refuses those behind it, which would be without their
// predecessor.
func (o *order) send(s *session, c *call) {
	o.takeOut(c)
	c.before = s.last
	switch {
	case s.last == unknownRID || c.rid >= s.last:
		if c.rid != s.last {
			s.early = 0
			if s.last != unknownRID && c.rid != s.last+1 {
				s.early = o.now + earlyMillis
			}
		}
		s.last, s.front = c.rid, c
	case c.rid == s.last-1:
		c.bridges, s.early = s.early, 0
	}
	if !c.over { // no client waits for replies to last words
		for d := s.open; d != nil; d = d.next {
			d.passed = d.passed || d.rid == c.rid
		}
		s.ordered++
		c.stage = stageOpen
		insert(&s.open, c)
	}
	if o.carrier.send(c) {
		return
	}
	if s.front == c {
		s.last, s.front, s.early = c.before, nil, 0
	}
	s.reopen(c)
	o.takeOut(c)
	o.carrier.refuse(c)
	o.refuseFrom(s, c.rid)
}

// dropFront forgets last words after the endpoint has had time to read them.
func (o *order) dropFront(s *session) bool {
	if s.front == nil || !s.front.left {
		return false
	}
	at := o.following(s.front)
	if at > o.now {
		s.at = min(s.at, at)
		return false
	}
	s.front = nil
	return true
}

// following returns when the successor of a request may be sent, if there is no evidence that the endpoint has read the
// request.
func (o *order) following(c *call) int64 {
	sentAt := c.follow()
	if sentAt == 0 {
		return never
	}
	return o.now + max(0, c.endpoint.headStart()-(o.micros()-sentAt)+999)/1000
}

// turn returns when a request may be sent, or never if that does not depend on the time.
func (o *order) turn(s *session, c *call) int64 {
	f := s.front
	switch {
	case s.ended:
		return o.now
	case s.last == unknownRID || c.rid > s.last+uint64(s.window):
		return c.at + strangerMillis
	case c.rid < s.last:
		return o.now
	case c.rid > s.last+1, o.repeatsEarly(s, c):
		return c.at + patienceMillis
	case f == nil || f.read:
		return o.now
	}
	return o.following(f)
}

// repeatsEarly reports whether a request was sent before without its predecessor, which has not been sent since. The
// endpoint keeps it then. ejabberd ends the session if it gets it again, so the copy waits for the predecessor as well,
// and is refused in the end.
func (o *order) repeatsEarly(s *session, c *call) bool {
	return c.rid == s.last && o.now < s.early && !s.ended
}

// late reports whether a request was sent after its successor and within the session's window. Its client has not
// received the answer yet, and the session may continue.
func (c *call) late() bool {
	s := c.session
	return s != nil && c.before != unknownRID && c.rid < c.before && c.before-c.rid < uint64(s.window)
}

// reopen records that the endpoint has not taken c, whose successor was sent before it.
func (s *session) reopen(c *call) {
	if c.bridges != 0 && c.rid == s.last-1 {
		s.early = c.bridges
	}
}

// replyNext sends one reply if its turn has come.
func (o *order) replyNext(s *session) bool {
	missing, fenced := false, false // what blocks a reply: older replies that are missing, or that have to wait
	for c := s.open; c != nil; c = c.next {
		switch {
		case c.stage == stageOpen:
			missing = missing || !c.passed
			continue
		case c.hasty:
		case fenced:
			continue
		case missing && o.now < c.at+replyPatienceMillis:
			s.at = min(s.at, c.at+replyPatienceMillis)
			continue
		case c.waitsForRoom(): // see room
			s.at = min(s.at, o.now+roomMillis)
			fenced = true
			continue
		case c.carries && !o.inOrder(s, c):
			s.at = min(s.at, s.carriedAt+fenceMillis)
			fenced = true
			continue
		case missing:
			o.pass(s, c)
		}
		o.leave(s, c)
		return true
	}
	return false
}

// pass records that replies to requests before c are no longer waited for.
func (o *order) pass(s *session, c *call) {
	o.stats.Overtaken++
	for d := s.open; d != c; d = d.next {
		d.passed = true
	}
}

// inOrder reports whether a reply with payload may leave now. If not, its session is stepped again when it may.
func (o *order) inOrder(s *session, c *call) bool {
	switch {
	case s.carried == nil, s.carried == c.link, s.carried.Passed(s.mark):
		return true
	case o.now >= s.carriedAt+fenceMillis:
		if c.fenced {
			o.stats.Overtaken++
		}
		return true
	case !c.fenced:
		c.fenced = true
		o.stats.Fenced++
	}
	s.carried.Fence(s.mark)
	return false
}

// leave passes a reply to its link.
func (o *order) leave(s *session, c *call) {
	o.takeOut(c)
	if c.carries {
		s.carried, s.carriedAt, s.mark = c.link, o.now, c.link.Mark()
	}
	if c.final {
		o.forget(s)
	}
	o.carrier.reply(c)
}

// place puts a session on the list for its state.
func (o *order) place(s *session) {
	if s.list != nil {
		s.list.remove(s)
	}
	switch {
	case s.at != never:
		o.waiting.add(s)
		if s.at < o.alarmAt {
			o.alarmAt = s.at
			o.carrier.alarm(s.at)
		}
	case s.front == nil && s.ordered == 0 && !s.ended:
		s.at = o.now
		o.idle.add(s)
	}
}

// run steps the sessions that are due.
func (o *order) run() {
	if o.now >= o.alarmAt {
		o.stepWaiting(func(s *session) bool { return o.now >= s.at })
	}
}

// passed steps the sessions that wait for a fence of the link.
func (o *order) passed(l link.Replier) {
	o.stepWaiting(func(s *session) bool { return s.carried == l })
}

// room steps the sessions whose replies wait for the link, which is no longer full.
func (o *order) room(l link.Replier) {
	o.stepWaiting(func(s *session) bool {
		for c := s.open; c != nil && !l.Full(); c = c.next {
			if c.stage == stageReady && c.link == l {
				return true
			}
		}
		return false
	})
}

// waitsForRoom reports whether a reply has to wait because its link is full. Replies without payload are short and do
// not wait.
func (c *call) waitsForRoom() bool { return c.carries && !c.hasty && c.link.Full() }

// closed processes the end of a link.
func (o *order) closed(l link.Replier) {
	for _, s := range o.sessions {
		if s.carried == l {
			s.carried = nil
		}
	}
	o.passed(nil)
}

// stepWaiting steps the waiting sessions that are due, and sets the alarm for the rest.
func (o *order) stepWaiting(due func(*session) bool) {
	o.alarmAt = never
	for n := o.waiting.length; n > 0; n-- {
		s := o.waiting.first
		if s == nil {
			return
		}
		if due(s) {
			o.step(s)
		} else {
			o.place(s)
		}
	}
}

// sweep forgets sessions that have been idle for too long.
func (o *order) sweep() {
	for s := o.idle.first; s != nil && o.now-s.at > maxIdleMillis; s = o.idle.first {
		o.forget(s)
	}
}

// refuseAll refuses all queued requests when the gateway closes.
func (o *order) refuseAll() {
	for _, s := range o.sessions {
		for s.queue != nil {
			c := s.queue
			o.takeOut(c)
			o.carrier.refuse(c)
		}
	}
}

// insert adds a call to a list, behind those with the same rid.
func insert(list **call, c *call) {
	for *list != nil && (*list).rid <= c.rid {
		list = &(*list).next
	}
	c.next = *list
	*list = c
}

// after returns the first call of a list with a greater rid.
func after(list *call, rid uint64) *call {
	for list != nil && list.rid <= rid {
		list = list.next
	}
	return list
}

// remove removes a call from a list. The list must contain it.
func remove(list **call, c *call) {
	for *list != c {
		list = &(*list).next
	}
	*list = c.next
	c.next = nil
}

// sessionList is a list of sessions. A session is on at most one.
type sessionList struct {
	first, last *session
	length      int
}

func (l *sessionList) add(s *session) {
	s.list, s.prev, s.next = l, l.last, nil
	if l.last == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
	l.length++
}

func (l *sessionList) remove(s *session) {
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.list, s.prev, s.next = nil, nil, nil
	l.length--
}
