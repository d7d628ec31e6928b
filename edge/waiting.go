package edge

import (
	"slices"

	"golang.org/x/sys/unix"

	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/loop"
	"megaphone/loop/sys"
	"megaphone/stats"
	"megaphone/table"
)

// When an origin is lost, all its clients would return at once: with the 503 for what it held, with their next try, and
// with their log-ins. Most clients add no jitter to their delays. So each is answered at its own time:
//
//	held, and the link is lost -> 503 at a random time within lost-jitter; the client repeats the same rid
//	a session's request comes  -> waits, its bytes in the origin's queue
//	    the link is up within 5 to 10 s  -> the request is sent, in the order of the queue, a share per tick
//	    otherwise                        -> 503; remote-connection-failed if the grace is over
//	either, and the link is up to an instance that began later -> item-not-found at the same time instead, or later
//	    while many creations wait, because the client's would only join them
//
// A lost hold is not resumed when the link is back. The origin counts its ID as gone (PROTOCOL.md), and only the client
// has the request. Both kinds are holds that no origin has, with holdAway set and their deadline as Due. node.away
// counts them.
//
// Bounds: a waiting request is at most maxWaitingBytes long. All of a reactor together take a quarter of
// max-buffered-bytes, in addition to that budget. Others get 503 at once. Each takes one of the configured number of
// holds. Session creations that wait for an origin with room are kept in the same way, with a quarter of their own.
const (
	// maxWaitTicks is the longest that a request waits for a link. mostWaitTicks includes its wait in the queue after
	// that. Proxies in front of the edge give up after 60 s, clients later.
	maxWaitTicks  = 10_000 / loop.TickMillis
	mostWaitTicks = 20_000 / loop.TickMillis
	second        = 1_000 / loop.TickMillis
	// patienceTicks is the age at which a lost hold is answered at the latest. Clients and proxies give up after a
	// minute, and a new connection costs more than an answer.
	patienceTicks = 55_000 / loop.TickMillis
	// lateTicks is how long a tick may be late, and is counted (loop.Reactor.Now).
	lateTicks = 1_000 / loop.TickMillis
	// maxWaitingBytes exceeds nearly all requests.
	maxWaitingBytes = 8 << 10
	// waitingPart is the divisor of max-buffered-bytes for requests of sessions that wait, and for creations that do.
	waitingPart = 4
	// waitChunkBytes is the allocation unit of a queue. A waiting request fits in it.
	waitChunkBytes = 64 << 10
	// returnTicks is the time over which the clients of an origin resume. Origins wait 5 s for a request's predecessor.
	// The predecessor may be in the queue while the request finds the link up.
	returnTicks = 5_000 / loop.TickMillis
	// mostReturns is how many clients return per tick and processor: a twentieth of what one can handle.
	mostReturns = 350
	// leastReturns is how many clients return per tick at least, so that a small number need not wait.
	leastReturns = 8
	// lookTicks is the mean time between two looks at a hold that waits on. A look costs as much as a small request.
	lookTicks = 4 * second
	// maxLooks bounds the queue entries examined per tick, including those whose clients have left.
	maxLooks = 20_000
)

// waitQueue is the FIFO of requests that wait for an origin, as frames. It has no pointers but those to its chunks. A
// frame whose hold has ended is skipped when its turn comes.
type waitQueue struct {
	chunks [][]byte
	read   int // of the first chunk
}

// waitChunks counts the bytes of several queues, which have a bound in common. It keeps one chunk for later, so that
// single requests that wait make no garbage.
type waitChunks struct {
	bytes int
	spare []byte
	idle  int // ticks since nothing waits
}

// needs returns how many bytes the queue grows by for a frame of the given size.
func (q *waitQueue) needs(size int) int {
	last := len(q.chunks) - 1
	if last < 0 || len(q.chunks[last])+size > waitChunkBytes {
		return waitChunkBytes
	}
	return 0
}

// fit reports whether a queue may grow by a frame if all have at most that many bytes.
func (p *waitChunks) fit(q *waitQueue, size, most int) bool {
	grows := q.needs(size)
	return grows == 0 || p.bytes+grows <= most
}

// room returns the chunk to which a frame of the given size is appended.
func (p *waitChunks) room(q *waitQueue, size int) *[]byte {
	if grows := q.needs(size); grows > 0 {
		if p.spare == nil {
			p.spare = newChunk()
		}
		q.chunks = append(q.chunks, p.spare)
		p.spare = nil
		p.bytes += grows
	}
	return &q.chunks[len(q.chunks)-1]
}

// newChunk maps a chunk. Go's heap would keep the memory of a burst for minutes.
func newChunk() []byte {
	const protection, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_ANON | unix.MAP_PRIVATE
	if chunk, err := unix.Mmap(-1, 0, waitChunkBytes, protection, kind); err == nil {
		return chunk[:0]
	}
	return make([]byte, 0, waitChunkBytes) // too many mappings: freeChunk leaves it to the collector
}

func freeChunk(chunk []byte) {
	if chunk != nil {
		_ = unix.Munmap(chunk[:waitChunkBytes])
	}
}

// drop removes the first frame of a queue. The frame stays readable until another chunk becomes empty.
func (p *waitChunks) drop(q *waitQueue, size int) {
	if q.read += size; q.read < len(q.chunks[0]) {
		return
	}
	freeChunk(p.spare)
	p.spare = q.chunks[0][:0]
	q.chunks, q.read = slices.Delete(q.chunks, 0, 1), 0
	p.bytes -= waitChunkBytes
}

// trim frees the spare chunk when nothing has waited for a second. It is called once per tick.
func (p *waitChunks) trim() {
	if p.idle++; p.bytes > 0 {
		p.idle = 0
	} else if p.idle >= second {
		freeChunk(p.spare)
		p.spare = nil
	}
}

// front returns the oldest frame; ok is false if there is none. It is valid until drop.
func (q *waitQueue) front() (f frame.Frame, size int, ok bool) {
	if len(q.chunks) == 0 {
		return f, 0, false
	}
	f, size, ok, err := frame.Parse(q.chunks[0][q.read:], frame.MaxContentsBytes)
	if !ok || err != nil {
		panic("edge: a queue of waiting requests is not made of frames")
	}
	return f, size, true
}

// away reports whether a hold waits for its origin, or for its 503.
func away(flags uint8) bool { return flags&(holdAway|holdReady) == holdAway }

// returnsOf returns how many clients of an origin may return to one of n reactors per tick, at most.
func returnsOf(n int) int { return max(leastReturns, mostReturns*min(sys.Processors(), n)/n) }

// spread returns the number of ticks over which that many lost holds are answered.
func (w *worker) spread(lost int) uint32 {
	return max(min(w.times.lostJitter, uint32(lost/leastReturns)), uint32(lost/w.waits.returns), 1)
}

// lostTicks returns after how many ticks a lost hold is answered: at random within the spread, but before its client
// gives up. Those that are due at once still take lost-jitter.
func (w *worker) lostTicks(age, spread uint32) uint32 {
	ticks := 1 + w.r.Rand().Uint32N(spread)
	if left := patienceTicks - min(age, patienceTicks); ticks > left {
		ticks = max(left, 1+w.r.Rand().Uint32N(min(spread, w.times.lostJitter)+1))
	}
	return ticks
}

// mayWait reports whether a request of a session waits instead of being answered. Its origin is away, or earlier
// requests on its connection wait for it.
func (w *worker) mayWait(c conn, n *node, v verdict) bool {
	switch {
	case v == nodeAway:
		return true
	case n.away == 0 || v == nodeGone:
		return false
	}
	for h, hold := w.holds.First(c.Conn); hold != nil; h, hold = w.holds.Next(h) {
		if away(hold.Flags) && int(hold.Link) == n.link.Index {
			return true
		}
	}
	return false
}

// wait queues a request whose body tag has been parsed for n, which is away. It returns false if there is no room for
// it.
func (w *worker) wait(q *request, n *node) bool {
	whole := w.frameOf(q)
	if whole.size > maxWaitingBytes || !w.waits.chunks.fit(&n.queue, whole.size, w.cfg.MaxBufferedBytes/waitingPart) {
		return false
	}
	h, hold := w.hold(q, uint8(n.link.Index), holdAway|holdQueued)
	if hold == nil {
		return true // the request has been refused
	}
	longest := min(w.times.grace, maxWaitTicks)
	w.markAway(n, hold, longest/2+w.r.Rand().Uint32N(longest/2+1))
	w.waits.chunks.keep(&n.queue, h, whole)
	w.counters[stats.Waited]++
	if q.Held == 1 {
		w.arm(q.conn)
	}
	return true
}

// kept is the frame of a request, in pieces. It borrows them.
type kept struct {
	size                       int // with its header
	addr, query, before, after []byte
}

// frameOf returns the frame in which a request waits. It has the query, because an origin tells only when its link is
// up whether it takes that. It is valid until w.addr changes.
func (w *worker) frameOf(q *request) kept {
	w.addr = q.address().AppendTo(w.addr[:0])
	before, after := q.contents()
	size := frame.PrefixBytes(w.addr, q.head.Query) + len(before) + len(after)
	return kept{frame.HeaderBytes + size, w.addr, q.head.Query, before, after}
}

// keep appends a frame to a queue.
func (p *waitChunks) keep(to *waitQueue, h table.Handle, k kept) {
	b := p.room(to, k.size)
	*b = frame.AppendHeader(*b, uint64(h), k.size-frame.HeaderBytes)
	*b = append(append(frame.AppendPrefix(*b, k.addr, k.query), k.before...), k.after...)
}

// handOverKept hands a request that has waited to a node. It returns the request's body, and false if that is too large
// for the node. It borrows contents.
func (w *worker) handOverKept(n *node, h table.Handle, hold *table.Hold, contents []byte) (body []byte, fits bool) {
	r, err := frame.ParseRequest(contents)
	if err != nil {
		panic("edge: a request that waited is malformed: " + err.Reason)
	}
	if !n.takesQuery {
		r.Query = nil
	}
	size := frame.PrefixBytes(r.Address, r.Query) + len(r.Body)
	if size > n.max {
		w.counters[stats.TooLarge]++
		return nil, false
	}
	w.handOver(h, hold, n, size, r.Address, r.Query, nil, r.Body)
	return r.Body, true
}

// markAway marks a hold that no origin has. It is answered after that many ticks, unless it is sent before.
func (w *worker) markAway(n *node, hold *table.Hold, ticks uint32) {
	hold.Flags |= holdAway
	hold.SetDue(w.r.Now() + max(ticks, 1))
	n.away++
	w.waits.holds++
	n.link.SetEager(true)
}

// clearAway undoes markAway.
func (w *worker) clearAway(hold *table.Hold) {
	n := w.byLink[hold.Link]
	hold.Flags &^= holdReleased
	hold.SetStart(w.r.Micros() - (w.r.Now()-hold.Since)*tickMicros)
	n.away--
	w.waits.holds--
	if n.away == 0 {
		n.link.SetEager(false)
	}
}

// lose takes all requests back from a node whose link is lost. Each gets a deadline at which it is answered with 503.
func (w *worker) lose(n *node) {
	over := w.spread(n.held)
	for i := uint32(1); n.held > 0 && i <= uint32(w.holds.Cap()); i++ {
		h, live := w.holds.HandleAt(i)
		if !live {
			continue
		}
		hold := w.holds.Resolve(h)
		if int(hold.Link) != n.link.Index || hold.Flags&holdOrphan != 0 {
			continue
		}
		c, age := w.conn(hold.Conn), w.r.Now()-hold.Since
		if c.phase() == phaseStream {
			age = 0 // its client waits for nothing
		}
		w.takeBack(hold, true)
		hold.Flags &^= holdQueued
		w.markAway(n, hold, w.lostTicks(age, over))
		if first, _ := w.holds.First(c.Conn); first == h {
			w.arm(c)
		}
	}
}

// endBygone answers the request of a session that its origin's new instance does not have, as that would (meet).
func (w *worker) endBygone(n *node, h table.Handle, hold *table.Hold) {
	w.clearAway(hold)
	w.counters[stats.SessionsLost]++
	w.answerHold(h, hold, 200, conditionItemNotFound.body)
}

// crowded reports whether so many creations wait that the clients of ended sessions would only lengthen their queue.
func (w *worker) crowded() bool {
	return w.creations.waiting >= w.waits.returns*second
}

// longestWait returns the age up to which a hold whose deadline has come waits on; 0: it does not.
func (w *worker) longestWait(n *node, hold *table.Hold) uint32 {
	queued, bygone := hold.Flags&holdQueued != 0, n.bygone(hold)
	switch {
	case n.stage != stageUp:
		return 0
	case queued && !bygone:
		return mostWaitTicks // its turn is about to come
	case !bygone, n.returned < w.waits.returns && !w.crowded():
		return 0
	}
	// Its client will be told when its log-in can begin, but before it loses patience. Those in the queue came within a
	// few seconds, so they are told evenly over that time.
	left := patienceTicks - min(w.r.Now()-hold.Since, patienceTicks-1)
	if queued && w.r.Rand().Uint32N(left) < lookTicks {
		return 0
	}
	return patienceTicks
}

// giveUp answers a hold whose wait is over.
func (w *worker) giveUp(h table.Handle, hold *table.Hold) {
	n := w.byLink[hold.Link]
	if c := w.conn(hold.Conn); c.phase() == phaseStream && hold.Flags&holdCreation == 0 {
		n.returned++
		w.endStream(c, ws.CodeServiceRestart, "")
		return
	}
	if age, longest := w.r.Now()-hold.Since, w.longestWait(n, hold); age < longest {
		hold.SetDue(w.r.Now() + min(lookTicks/2+w.r.Rand().Uint32N(lookTicks), longest-age))
		w.arm(w.conn(hold.Conn))
		return
	}
	n.returned++
	if n.bygone(hold) {
		w.endBygone(n, h, hold)
		return
	}
	w.clearAway(hold)
	if w.verdict(n, w.r.Now()) == nodeGone {
		w.counters[stats.NodeGone]++
		if w.conn(hold.Conn).phase() == phaseStream {
			w.answerHold(h, hold, 503, nil) // a page then tries BOSH
			return
		}
		w.answerHold(h, hold, 200, conditionConnectionFailed.body)
		return
	}
	w.counters[stats.Retries]++
	w.answerHold(h, hold, 503, nil)
}

// sendWaiting sends a share of the requests that wait for n, if its link is up. It drops those whose clients have left.
func (w *worker) sendWaiting(n *node) {
	if len(n.queue.chunks) == 0 {
		n.returned = 0
		return
	}
	share := 0
	if n.stage == stageUp {
		share = max(n.share-n.returned, n.share/4, 1)
	}
	n.returned = 0
	for range maxLooks {
		f, size, ok := n.queue.front()
		if !ok {
			break
		}
		h := table.Handle(f.ID)
		if hold := w.holds.Resolve(h); hold != nil && away(hold.Flags) {
			if share == 0 || n.link.Unsent() > w.cfg.LinkHighWater {
				break
			}
			switch {
			case !n.bygone(hold):
				share--
				w.send(n, h, hold, f.Contents)
			case w.crowded(): // its deadline decides (giveUp)
			default:
				share--
				w.endBygone(n, h, hold)
			}
		}
		w.waits.chunks.drop(&n.queue, size)
	}
}

// beginReturn sets the share of requests that are sent per tick, now that the link is up, and sends the first.
func (w *worker) beginReturn(n *node) {
	n.share = min(max(n.away/returnTicks, leastReturns), w.waits.returns)
	w.sendWaiting(n)
}

// send hands a request that has waited to its node. It borrows contents.
func (w *worker) send(n *node, h table.Handle, hold *table.Hold, contents []byte) {
	w.clearAway(hold)
	if _, fits := w.handOverKept(n, h, hold, contents); !fits {
		w.answerHold(h, hold, 413, nil)
		return
	}
	hold.Flags &^= holdQueued
	hold.Since = w.r.Now()
	c := w.conn(hold.Conn)
	if first, _ := w.holds.First(c.Conn); first == h {
		w.arm(c)
	}
}
