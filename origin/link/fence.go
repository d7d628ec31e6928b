package link

import (
	"bytes"
	"strconv"
)

// A fence reports that an edge has processed the frames on one link. A Handler uses it if it must not send on
// another link before that. An edge processes the frames of a link in order. The pong to a ping therefore proves that
// all replies before the ping have been written to their clients' connections (PROTOCOL.md, Order).
//
// Fences are numbered. All fences requested in one turn share one ping at the end of the turn.

// fenceToken begins the token of a fence's ping. The fence's number follows.
const fenceToken = "fence-"

// Mark returns the number of the fence that covers all replies given on l so far.
func (l *edgeLink) Mark() uint32 { return l.fences + 1 }

// Passed reports whether the edge has processed all replies that mark covers, or the link has ended.
func (l *edgeLink) Passed(mark uint32) bool { return l.ended || int32(l.passed-mark) >= 0 }

// Fence requests a call of Handler.Passed once the edge has processed all replies that mark covers.
func (l *edgeLink) Fence(mark uint32) {
	if l.ended || int32(l.fences-mark) >= 0 {
		return // its ping has been sent already
	}
	l.fenceDue = true
	l.markDirty()
}

// sendFence ends a turn's replies with a ping if a fence was requested.
func (l *edgeLink) sendFence() {
	if !l.fenceDue || l.ended {
		return
	}
	l.fenceDue = false
	l.fences++
	l.server.stats.Fences++
	l.control("ping ", fenceToken, strconv.FormatUint(uint64(l.fences), 10), "\n")
}

// takePong passes the fence that a pong answers. Any other pong is only a sign of life.
func (l *edgeLink) takePong(token []byte) {
	digits, ok := bytes.CutPrefix(token, []byte(fenceToken))
	if !ok {
		return
	}
	n, err := strconv.ParseUint(string(digits), 10, 32)
	if mark := uint32(n); err == nil && int32(l.fences-mark) >= 0 && int32(mark-l.passed) > 0 {
		l.passed = mark
		l.server.handler.Passed(l)
	}
}
