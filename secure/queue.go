package secure

import (
	"errors"
	"slices"
)

// queue has connections that wait, in their order. A connection that ends keeps its place until it is popped, and one
// with the same number that begins to wait gets this place. So there is at most one for each number.
type queue struct {
	list  []uint32
	head  int    // of list
	count int    // connections that wait
	bit   uint32 // of the word of a connection that has a place
}

func (q *queue) push(c uint32) {
	if q.head > len(q.list)/2 {
		q.list, q.head = q.list[:copy(q.list, q.list[q.head:])], 0
	}
	q.list = append(q.list, c)
}

func (q *queue) pop() (c uint32) {
	c = q.list[q.head]
	q.head++
	return c
}

// wait puts c into a queue.
func (t *Transport) wait(q *queue, c, stage, value uint32) {
	if t.words[c]&q.bit == 0 {
		q.push(c)
		t.words[c] |= q.bit
	}
	q.count++
	t.set(c, stage, value)
}

// next returns the first connection of a queue that still waits there, in the given stage. There must be one.
func (t *Transport) next(q *queue, stage uint32) (c uint32) {
	for {
		c = q.pop()
		t.words[c] &^= q.bit
		if t.stage(c) == stage {
			q.count--
			return c
		}
	}
}

// Turn lets connections continue that wait, as many as the time of a turn is enough for: first those with a worker.
func (t *Transport) Turn() {
	t.spent, t.spentLate = 0, 0
	for most := max(turnBudget/t.cost, 1); most > 0 && !t.stopped; most-- {
		var c uint32
		switch {
		case t.delayed.count > 0:
			c = t.next(&t.delayed, stageDelayed)
			t.set(c, stageLate, t.value(c))
		case t.waiting.count > 0 && t.pool.Free():
			c = t.next(&t.waiting, stageWaiting)
			t.take(c, stageLate)
		default:
			return
		}
		t.r.Resume(c)
	}
}

// leastAge is how many ticks a handshake may always take.
const leastAge = 10

var errCrowded = errors.New("others wait for a handshake, and this one takes the longest")

// Tick must be called with each tick of a server's reactor. While connections wait because too many handshakes are
// under way, the oldest of these end, after a second at least. Otherwise 2,000 clients that send a hello and nothing
// else could keep all others out until their time is up, and then begin again.
func (t *Transport) Tick() {
	t.ticks++
	if t.stopped || t.waiting.count == 0 || t.pool.Free() {
		return
	}
	var old []int
	for n := range t.shaking {
		s := &t.shaking[n]
		if s.worker != nil && t.ticks-s.since >= leastAge && t.stage(s.conn) == stageShaking {
			old = append(old, n)
		}
	}
	slices.SortFunc(old, func(a, b int) int { return int(int32(t.shaking[a].since - t.shaking[b].since)) })
	for _, n := range old[:min(len(old), t.waiting.count)] {
		c := t.shaking[n].conn
		t.owner.Unsecured(c, Crowded, errCrowded)
		t.r.Close(c)
	}
}
