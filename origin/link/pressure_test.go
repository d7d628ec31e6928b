package link

import (
	"bytes"
	"testing"
	"time"
)

// paused reports whether the only link's reader waits for room.
func (r *rig) paused() (paused bool) {
	r.s.Do(func() {
		for l := range r.s.links {
			paused = l.out.isPaused()
		}
	})
	return paused
}

// fill sends requests, whose replies nobody reads, until the link is not read from any more, and returns how many. The
// kernel's buffers take some millions of bytes before that.
func (r *rig) fill(e *edge) (sent uint64) {
	for calm := 0; calm < 100; calm++ {
		if r.paused() {
			continue
		}
		calm = 0
		sent++
		e.request(sent, "<a/>")
		if sent > 10_000 {
			r.t.Fatal("hundreds of megabytes of replies are no reason to stop reading")
		}
	}
	return sent
}

// TestUnreadLinkIsNotReadFrom: above the high-water mark nothing more is taken from the edge; nothing is lost.
func TestUnreadLinkIsNotReadFrom(t *testing.T) {
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 1 << 30})
	big := bytes.Repeat([]byte("<"), 50_000)
	r.h.onRequest = func(l *Link, id uint64, _ []byte) { l.Reply(id, 200, big) }
	e := r.open()
	sent := r.fill(e)
	before := r.stats().Requests
	for range 50 {
		sent++
		e.request(sent, "<a/>")
	}
	if st := r.stats(); st.Requests != before || !r.paused() {
		t.Fatalf("the link is read from, though its replies are not: %d requests, then %d", before, st.Requests)
	}
	for id := uint64(1); id <= sent; id++ {
		e.wantReply(id, 200, string(big))
	}
	r.until("everything to be answered", func() bool { return r.stats().Replies == int64(sent) && !r.paused() })
}

// TestStuckLinkEnds: a link that is not read from, since the edge does not read either, is closed after the timeout.
func TestStuckLinkEnds(t *testing.T) {
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 1 << 30, PingTimeout: 3 * time.Second})
	big := bytes.Repeat([]byte("<"), 50_000)
	r.h.onRequest = func(l *Link, id uint64, _ []byte) { l.Reply(id, 200, big) }
	e := r.open()
	r.fill(e)
	r.pass(2_999)
	if st := r.stats(); st.Links != 1 {
		t.Fatalf("the link ended too early: %+v", st)
	}
	r.pass(1)
	if st := r.stats(); st.Links != 0 || st.Ended[FaultTimeout] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestOverflow: what is unsent is bounded, also when many requests are held and all answered at once.
func TestOverflow(t *testing.T) {
	r := newRig(t, Config{MaxUnsentBytes: 20 << 20})
	e := r.open()
	const held = 400
	for id := range uint64(held) {
		e.request(id+1, "<a/>")
	}
	r.until("all to be held", func() bool { return r.stats().Live == held })
	big := bytes.Repeat([]byte("<"), 100_000)
	closed := false
	r.h.onClosed = func(*Link) { closed = true }
	var unsent int
	r.s.Do(func() {
		for id := range uint64(held) {
			r.h.last.Reply(id+1, 200, big)
			_, n := r.h.last.out.put(nil)
			unsent = max(unsent, n+len(r.h.last.batch))
		}
		if !closed {
			t.Error("the handler has not been told at once")
		}
	})
	if st := r.stats(); st.Ended[FaultOverflow] != 1 || st.Links != 0 || st.Live != 0 {
		t.Errorf("%+v", st)
	}
	if limit := 20<<20 + 2*flushBytes; unsent > limit {
		t.Errorf("%d bytes were unsent, which is more than %d", unsent, limit)
	}
}

// TestOneWriteForATurn: all replies of a turn leave in one write.
func TestOneWriteForATurn(t *testing.T) {
	r := newRig(t, Config{})
	e := r.open()
	const n = 500
	for id := range uint64(n) {
		e.request(id+1, "<a/>")
	}
	r.until("all to be held", func() bool { return r.stats().Live == n })
	before := r.stats().Writes
	r.s.Do(func() {
		for id := range uint64(n) {
			r.h.last.Reply(id+1, 200, []byte("<b/>"))
		}
	})
	for id := range uint64(n) {
		e.wantReply(id+1, 200, "<b/>")
	}
	r.until("the write to be counted", func() bool { return r.stats().Writes > before })
	if writes := r.stats().Writes - before; writes != 1 {
		t.Errorf("%d writes", writes)
	}
}

// TestLargeFrames: a frame as large as may be, larger than any buffer is to begin with, and small ones around it.
func TestLargeFrames(t *testing.T) {
	r := newRig(t, Config{MaxContentsBytes: 8 << 20, HighWaterBytes: 64 << 20})
	r.h.onRequest = reply
	e := r.open()
	large := "<" + string(bytes.Repeat([]byte("x"), 8<<20-len("192.0.2.7 <")))
	go func() {
		for id := uint64(1); id <= 9; id += 3 {
			e.request(id, "<a/>")
			e.request(id+1, large)
			e.request(id+2, "<c/>")
		}
	}()
	for id := uint64(1); id <= 9; id += 3 {
		e.wantReply(id, 200, "<a/>")
		e.wantReply(id+1, 200, large)
		e.wantReply(id+2, 200, "<c/>")
	}
}
