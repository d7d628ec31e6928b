package edge

import (
	"cmp"
	"log/slog"
	"sync/atomic"
	"unsafe"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/fdtable"
	"megaphone/loop"
	"megaphone/stats"
	"megaphone/table"
)

// opening is a session creation that an origin has. It exists for that time, and hold.Opening is its index. Those under
// way form a circle through next and prev, in the order of since.
type opening struct {
	hold       table.Handle
	domain     uint64  // hash of the domain that it asks for, see served
	health     *health // whose throttle counts it
	node       *node
	next, prev uint32
	since      uint32 // tick at which it was handed over
	micros     uint32 // the same in loop.Reactor.Micros
	trial      bool
	settled    bool           // its outcome has been counted
	key        [keyBytes]byte // of the handshake of a stream
}

// openingBytes is the size of an opening.
const openingBytes = 80

const _ = uint(openingBytes - unsafe.Sizeof(opening{}))

// creations is a reactor's session creations. Those that an origin has are in a table, which grows to the most that
// were needed at once; max-creations bounds it per origin. Those that wait for an origin with room are frames in the
// queue of a lane. max-waiting-creations bounds their number, and waitingPart their bytes.
type creations struct {
	holds   *table.Holds
	all     []opening // those at underWay and departed are heads of circles
	free    []uint32
	lanes   []lane
	chunks  waitChunks // of the lanes
	waiting int
	queued  int // frames in the lanes, those whose clients have left included
	active  int // reactors that have waiting ones, including this one
	rank    int // of this reactor among them
}

// Indexes of the heads of two circles.
const (
	underWay = iota // those that an origin has
	departed        // those whose client has left: the origin still works on them, as on others
	numHeads
)

// lane is the queue of all creations that the same origins can serve. A creation that waits for its domain's only
// origin does not block those for other domains. There are as many lanes as sets of origins with the same domains.
type lane struct {
	nodes   uint64 // bits of its origins
	streams bool   // of openings of streams, not of requests
	queue   waitQueue
	stuck   bool // none of its origins has room; valid only during admitWaiting
}

// candidate is the oldest creation of a lane. It is valid until the lane changes.
type candidate struct {
	lane  *lane
	frame frame.Frame
	size  int         // of the frame, with its header
	hold  *table.Hold // nil: nothing waits in the lane. Start is when it came
}

// common is what all reactors share about creations.
type common struct {
	served  served
	waiting [fdtable.MaxTables]atomic.Uint32 // waiting creations, by the index of the reactor
}

const (
	maxKeptCreation = 4 << 10 // bytes of a frame that may wait; known clients send less than 500
	fewExpired      = 16      // creations refused per tick at most,
	expiredPart     = 32      // plus 1/expiredPart of those that wait
	linkNone        = 255     // hold.Link of a creation that no origin got
	linkQueue       = 254     // and of one that waits
)

func newCreations(holds *table.Holds) creations {
	q := creations{holds: holds, all: make([]opening, numHeads)}
	q.all[departed].next, q.all[departed].prev = departed, departed
	return q
}

// add puts c into a free slot, at the end of the circle of head.
func (q *creations) add(c opening, head uint32) (i uint32) {
	if n := len(q.free); n > 0 {
		i, q.free = q.free[n-1], q.free[:n-1]
	} else {
		i = uint32(len(q.all))
		q.all = append(q.all, opening{})
	}
	q.all[i] = c
	q.link(i, head)
	return i
}

func (q *creations) link(i, head uint32) {
	last := q.all[head].prev
	q.all[i].prev, q.all[i].next = last, head
	q.all[last].next, q.all[head].prev = i, i
}

func (q *creations) unlink(i uint32) {
	c := &q.all[i]
	q.all[c.prev].next, q.all[c.next].prev = c.next, c.prev
}

// remove frees a slot.
func (q *creations) remove(i uint32) {
	q.unlink(i)
	q.all[i] = opening{}
	q.free = append(q.free, i)
}

// laneOf returns the lane for a set of origins. It makes the lane if necessary.
func (q *creations) laneOf(nodes uint64, streams bool) *lane {
	for i := range q.lanes {
		if q.lanes[i].nodes == nodes && q.lanes[i].streams == streams {
			return &q.lanes[i]
		}
	}
	q.lanes = append(q.lanes, lane{nodes: nodes, streams: streams})
	return &q.lanes[len(q.lanes)-1]
}

// overtakes reports whether a new creation for nodes would overtake waiting ones on its way to n. Those wait in the
// same lane, or in another lane of n that has room now. Another lane may be unable to use the room at n, if an origin
// that it prefers by priority is full.
func (w *worker) overtakes(n *node, nodes uint64, streams bool) bool {
	q := &w.creations
	if q.waiting == 0 {
		return false
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		if l.nodes&n.bit == 0 || q.oldest(l).hold == nil {
			continue
		}
		if l.nodes == nodes && l.streams == streams {
			return true
		}
		if _, verdict := w.pick(w.able(l)); verdict == nodeReady {
			return true
		}
	}
	return false
}

// able returns the bits of the origins of a lane that can take what waits there.
func (w *worker) able(l *lane) uint64 {
	if l.streams {
		return l.nodes & w.takingStreams()
	}
	return l.nodes
}

// oldest returns the oldest creation of a lane. It drops those before it whose clients have left.
func (q *creations) oldest(l *lane) candidate {
	for {
		f, size, ok := l.queue.front()
		if !ok {
			return candidate{}
		}
		c := candidate{l, f, size, q.holds.Resolve(table.Handle(f.ID))}
		if c.hold != nil && waits(c.hold) {
			return c
		}
		q.dequeue(c)
	}
}

// dequeue removes a creation from its lane.
func (q *creations) dequeue(c candidate) {
	q.queued--
	q.chunks.drop(&c.lane.queue, c.size)
}

// order is negative if c came before other.
func (c *candidate) order(other *candidate) int {
	return cmp.Or(cmp.Compare(c.hold.Since, other.hold.Since), int(int32(c.hold.Start()-other.hold.Start())))
}

// longest returns the creation that has waited for longest in any of the lanes, stuck ones excluded.
func (q *creations) longest(lanes []lane) (first candidate) {
	for i := range lanes {
		if lanes[i].stuck {
			continue
		}
		c := q.oldest(&lanes[i])
		if c.hold != nil && (first.hold == nil || c.order(&first) < 0) {
			first = c
		}
	}
	return first
}

// create opens a session at an origin that the edge picks. If no origin has room the creation waits.
func (w *worker) create(q *request) {
	legacy := q.tag.Ver == nil
	q.suffix = boshbody.Suffix{Content: []byte(encodeContent(q.tag.Content)), Legacy: legacy}
	nodes := w.nodes.serving(q.tag.To)
	n, verdict := w.pick(nodes)
	if verdict > nodeBusy {
		w.unavailable(q, verdict)
		return
	}
	flags := uint8(holdCreation)
	if legacy {
		flags |= holdLegacy
	}
	trial, ok := false, verdict == nodeReady && !w.overtakes(n, nodes, false)
	if ok {
		trial, ok = w.reserve(n)
	}
	if !ok {
		w.queueCreation(q, nodes, flags)
		return
	}
	domain := w.common.served.hash(q.tag.To)
	h, hold := w.park(q, n, flags)
	if hold == nil {
		n.unreserve(trial)
		return
	}
	w.creations.track(h, hold, n, domain, trial, w.r.Now())
}

// track counts a creation that has just been handed over.
func (q *creations) track(h table.Handle, hold *table.Hold, n *node, domain uint64, trial bool, now uint32) {
	n.creating++
	hold.SetOpening(q.add(opening{hold: h, domain: domain, health: n.health, node: n, since: now,
		micros: hold.Start(), trial: trial}, underWay))
}

// reserve counts a creation at a picked node. trial reports whether its outcome decides an ejection.
func (w *worker) reserve(n *node) (trial, ok bool) {
	now := w.micros()
	if w.ejects && n.health.due(now) {
		if trial = n.health.try(now); !trial {
			return false, false // another reactor has begun the trial
		}
	}
	if !n.health.take(now, &w.creationBounds) {
		if trial {
			n.health.abandonTrial()
		}
		return false, false
	}
	w.began(n, now)
	if trial {
		w.r.LogLimited(&n.trialLog, slog.LevelInfo, "origin on trial", "origin", n.cfg.Name)
	}
	return trial, true
}

func (n *node) unreserve(trial bool) {
	n.health.give()
	if trial {
		n.health.abandonTrial()
	}
}

// sharers returns how many reactors share the bounds, including this one, and its rank among them.
func (q *creations) sharers() (active, rank int) {
	if q.waiting == 0 && q.active > 0 {
		return q.active + 1, q.active
	}
	return q.active, q.rank
}

// fair reports whether this reactor may begin a creation at a node. If creations wait in several reactors, each gets a
// part of the bound and of the rate. The remainder of the bound goes round by ticks.
func (w *worker) fair(n *node, now uint64) bool {
	active, rank := w.creations.sharers()
	if active <= 1 {
		return true
	}
	most := int(n.health.bound(&w.creationBounds))
	part := most / active
	if (rank+int(w.r.Now()))%active < most%active {
		part++
	}
	if n.creating >= part {
		n.health.refused.Store(true)
		return false
	}
	ahead := now + tickMicros // time moves in ticks
	n.nextFair = min(n.nextFair, ahead+w.interval*uint64(active))
	return w.interval == 0 || n.nextFair < ahead
}

// began charges a creation to this reactor's part of the rate.
func (w *worker) began(n *node, now uint64) {
	if active, _ := w.creations.sharers(); active > 1 {
		n.nextFair = max(n.nextFair, now) + w.interval*uint64(active)
	}
}

// queueCreation queues a creation until an origin has room. If the queue has no room either, it refuses it.
func (w *worker) queueCreation(q *request, nodes uint64, flags uint8) {
	whole := w.frameOf(q)
	if !w.mayQueue(nodes, whole.size, false) {
		w.unavailable(q, nodeBusy)
		return
	}
	h, hold := w.hold(q, linkQueue, flags|holdOrphan)
	if hold == nil {
		return
	}
	w.enqueue(h, hold, nodes, false, whole)
	if q.Held == 1 {
		w.arm(q.conn)
	}
}

// mayQueue reports whether there is room for a creation with a frame of that size.
func (w *worker) mayQueue(nodes uint64, size int, streams bool) bool {
	return w.creations.waiting < w.maxWaiting() && size <= maxKeptCreation && w.fitsLane(nodes, size, streams)
}

// enqueue queues a creation.
func (w *worker) enqueue(h table.Handle, hold *table.Hold, nodes uint64, streams bool, whole kept) {
	all := &w.creations
	hold.SetStart(w.r.Micros())
	all.chunks.keep(&all.laneOf(nodes, streams).queue, h, whole)
	all.waiting++
	all.queued++
	w.counters[stats.CreationsWaited]++
}

// fitsLane reports whether the lane of nodes may grow by a frame. Those whose clients have left take room until their
// turn comes, so it drops them all if they are most.
func (w *worker) fitsLane(nodes uint64, size int, streams bool) bool {
	q := &w.creations
	most := w.cfg.MaxBufferedBytes / waitingPart
	if q.chunks.fit(&q.laneOf(nodes, streams).queue, size, most) {
		return true
	}
	if q.queued <= 2*q.waiting {
		return false
	}
	w.relane()
	return q.chunks.fit(&q.laneOf(nodes, streams).queue, size, most)
}

// maxWaiting returns how many creations may wait in this reactor.
func (w *worker) maxWaiting() int {
	n := w.r.Siblings()
	return (w.cfg.MaxWaitingCreations + n - 1) / n
}

// admitWaiting hands over waiting creations, the oldest of all lanes first, while origins have room.
func (w *worker) admitWaiting() {
	q := &w.creations
	if q.queued == 0 {
		return
	}
	for i := range q.lanes {
		q.lanes[i].stuck = false
	}
	for c := q.longest(q.lanes); c.hold != nil; c = q.longest(q.lanes) {
		n, verdict := w.pick(w.able(c.lane))
		trial, ok := false, verdict == nodeReady
		if ok {
			trial, ok = w.reserve(n)
		}
		if !ok {
			c.lane.stuck = true
			continue
		}
		w.begin(c, n, trial)
	}
}

// begin hands over a creation that has waited.
func (w *worker) begin(c candidate, n *node, trial bool) {
	h := table.Handle(c.frame.ID)
	if c.lane.streams {
		if len(c.frame.Contents)-keyBytes > n.max {
			n.unreserve(trial)
			w.turnAway(c, 413)
			return
		}
		w.sendOpening(h, c.hold, n, c.frame.Contents, trial)
	} else {
		body, fits := w.handOverKept(n, h, c.hold, c.frame.Contents)
		if !fits {
			n.unreserve(trial)
			w.turnAway(c, 413)
			return
		}
		w.creations.track(h, c.hold, n, w.common.served.hash(domainOf(body)), trial, w.r.Now())
	}
	w.creations.waiting--
	w.creations.dequeue(c)
}

// nodesOf returns the bits of the origins for a creation that waits, see lane.
func (w *worker) nodesOf(c *candidate) uint64 {
	if c.lane.streams {
		o, _ := frame.ParseOpen(c.frame.Contents[keyBytes:])
		return w.nodes.hosting(o.Host)
	}
	r, _ := frame.ParseRequest(c.frame.Contents)
	return w.nodes.serving(domainOf(r.Body))
}

// domainOf returns the domain that a creation which has waited asks for. It borrows body.
func domainOf(body []byte) []byte {
	var tag boshbody.StartTag
	_ = boshbody.Parse(&tag, body) // create has checked it
	return tag.To
}

// forget ends a waiting creation. Its hold remains, as that of a request that no origin got.
func (q *creations) forget(hold *table.Hold) {
	hold.Link = linkNone
	q.waiting--
}

// turnAway answers a waiting creation instead of an origin.
func (w *worker) turnAway(c candidate, status int) {
	w.creations.forget(c.hold)
	w.creations.dequeue(c)
	w.answerHold(table.Handle(c.frame.ID), c.hold, status, nil)
}

// waits reports whether a hold is that of a waiting creation.
func waits(hold *table.Hold) bool { return hold.Link == linkQueue && hold.Flags&holdReady == 0 }

// creationTick ends creations that took too long, and admits waiting ones.
func (w *worker) creationTick() {
	now, q := w.r.Now(), &w.creations
	for q.all[underWay].next != underWay && now-q.all[q.all[underWay].next].since >= w.times.create {
		i := q.all[underWay].next
		h := q.all[i].hold
		hold := w.holds.Resolve(h)
		w.counters[stats.CreateTimeouts]++
		q.all[i].health.observe(uint64(w.times.create)*tickMicros, w.micros())
		w.settle(&q.all[i], outcomeFailed)
		w.sendGone(h, hold)
		w.answerHold(h, hold, 503, nil)
	}
	w.expireWaiting()
	q.chunks.trim()
	for _, n := range w.nodes {
		n.health.adapt(w.micros(), &w.creationBounds)
	}
	q.releaseDeparted(now)
	q.countActive(w.common, w.r)
	w.admitWaiting()
	w.counters[stats.CreationsWaiting] = uint64(q.waiting)
}

// expireWaiting refuses creations that have waited too long. It spreads those that came in one tick over several,
// because they would return in one.
func (w *worker) expireWaiting() {
	now, q := w.r.Now(), &w.creations
	most := fewExpired + q.waiting/expiredPart
	for i := range q.lanes {
		c := q.oldest(&q.lanes[i])
		for ; c.hold != nil && most > 0 && now-c.hold.Since >= w.times.createWait; c = q.oldest(&q.lanes[i]) {
			w.counters[stats.CreateWaits]++
			w.turnAway(c, 503)
			most--
		}
	}
}

// countActive counts the reactors that share the bounds with r.
func (q *creations) countActive(shared *common, r *loop.Reactor) {
	shared.waiting[r.Index()].Store(uint32(q.waiting))
	q.active, q.rank = 0, 0
	for i := range r.Siblings() {
		if shared.waiting[i].Load() == 0 {
			continue
		}
		if i < r.Index() {
			q.rank++
		}
		q.active++
	}
}

// relane sorts the waiting creations into new lanes, because the nodes have changed, or to drop those whose clients
// have left.
func (w *worker) relane() {
	q := &w.creations
	old := q.lanes
	q.lanes = nil
	for i := range old {
		old[i].stuck = false
	}
	for c := q.longest(old); c.hold != nil; c = q.longest(old) {
		to := q.chunks.room(&q.laneOf(w.nodesOf(&c), c.lane.streams).queue, c.size)
		*to = append(frame.AppendHeader(*to, c.frame.ID, len(c.frame.Contents)), c.frame.Contents...)
		q.queued++
		q.dequeue(c)
	}
}

// outcome is the result of a creation.
type outcome uint8

const (
	outcomeNone   outcome = iota // it tells nothing about the origin
	outcomeGood                  // there is a session
	outcomeFailed                // there is none, and that is the origin's fault
)

// creationOutcome judges the reply to a creation.
func creationOutcome(status int, body []byte) outcome {
	var tag boshbody.StartTag
	known := boshbody.ParseReply(&tag, body) == nil
	switch {
	case status >= 500:
		return outcomeFailed
	case !known && (status == 200 || status == 404 || status == 405):
		return outcomeFailed // a web page: the server there does not speak BOSH
	case status != 200 || !known:
		return outcomeNone
	case string(tag.Type) == "terminate" && serversFault(tag.Condition):
		return outcomeFailed
	case string(tag.Type) == "terminate" || tag.SID == nil:
		return outcomeNone
	}
	return outcomeGood
}

// serversFault reports whether a terminal condition (XEP-0124 section 17.2) is the server's fault, whatever the client
// asked for.
func serversFault(condition []byte) bool {
	switch string(condition) {
	case "internal-server-error", "system-shutdown", "remote-connection-failed", "undefined-condition":
		return true
	}
	return false
}

// created counts the reply to a creation.
func (w *worker) created(n *node, hold *table.Hold, took uint64, status int, body []byte) {
	c := w.creations.opening(hold)
	n.creationTimes.Observe(took)
	what := creationOutcome(status, body)
	if what == outcomeGood {
		c.health.answered(took, w.micros())
	} else {
		c.health.progress.Store(w.micros()) // the speed of refusals and failures does not show the origin's capacity
	}
	w.settle(c, what)
}

// settle counts the outcome of a creation. It ejects the node, or ends its ejection, if the outcome decides that.
func (w *worker) settle(c *opening, what outcome) {
	h, now, n := c.health, w.micros(), c.node
	c.settled = true
	if what == outcomeGood {
		w.common.served.note(c.domain, now)
	} else if what == outcomeFailed && !w.common.served.lately(c.domain, now) {
		what = outcomeNone
	}
	failed := what == outcomeFailed
	switch {
	case what == outcomeNone:
		if c.trial {
			h.abandonTrial()
		}
		return
	case c.trial:
		well, took := h.endTrial(failed, now, &w.creationBounds, w.r.Rand())
		if failed {
			h.failures.Add(1)
			w.r.LogLimited(&n.trialLog, slog.LevelWarn, "origin failed its trial", "origin", n.cfg.Name,
				"ejected_ms", took/1000)
		} else if well {
			w.log(slog.LevelInfo, "origin recovered", "origin", n.cfg.Name)
		}
		return
	}
	h.judge(failed, now)
	if !failed || !w.ejects || !h.ill() || !w.nodes.mayEject() {
		return
	}
	row, bad, judged := h.row.Load(), h.failed.Load(), h.judged.Load()
	if took, ok := h.eject(now, &w.creationBounds, w.r.Rand()); ok {
		w.log(slog.LevelWarn, "origin ejected", "origin", n.cfg.Name, "failed_in_a_row", row,
			"failed", bad, "of", judged, "ejected_ms", took/1000)
	}
}

// mayEject reports whether one more node may be ejected. At most half of those that could have new sessions are.
func (all nodes) mayEject() bool {
	count, out := 0, 0
	for _, n := range all {
		if n.leaving || !n.takesNew() || n.stage != stageUp {
			continue
		}
		count++
		if n.health.is() != standingWell {
			out++
		}
	}
	return 2*(out+1) <= count
}

// opening returns the creation of a hold, or nil if no origin has one for it.
func (q *creations) opening(hold *table.Hold) *opening {
	if hold.Flags&(holdCreation|holdOrphan) != holdCreation {
		return nil
	}
	return &q.all[hold.Opening()]
}

// endCreation ends the creation of a hold that its node still has (takeBack). lost is set if the node's link was lost.
func (w *worker) endCreation(hold *table.Hold, lost bool) {
	i := hold.Opening()
	c := &w.creations.all[i]
	if !c.settled && w.r.Now()-c.since >= max(w.times.create/2, 1) {
		w.settle(c, outcomeFailed) // its client has lost patience
	} else if c.trial && !c.settled {
		c.health.abandonTrial() // its client left, or the link was lost
	}
	hold.SetStart(c.micros)
	if c.settled || lost {
		w.creations.releaseCreation(i)
		return
	}
	c.hold, c.since = 0, w.r.Now()
	w.creations.unlink(i)
	w.creations.link(i, departed)
}

// releaseCreation makes room for another one.
func (q *creations) releaseCreation(i uint32) {
	c := &q.all[i]
	c.health.give()
	c.node.creating--
	q.remove(i)
}

// releaseDeparted makes room for others once the origins should be done with the creations whose clients left.
func (q *creations) releaseDeparted(now uint32) {
	for i := q.all[departed].next; i != departed; {
		c := &q.all[i]
		next := c.next
		if uint64(now-c.since)*tickMicros > min(c.health.long.Load(), maxQuiet) {
			q.releaseCreation(i)
		}
		i = next
	}
}

// loseDeparted forgets those creations of a node whose clients have left, because its link is lost.
func (q *creations) loseDeparted(n *node) {
	for i := q.all[departed].next; i != departed; {
		next := q.all[i].next
		if q.all[i].node == n {
			q.releaseCreation(i)
		}
		i = next
	}
}
