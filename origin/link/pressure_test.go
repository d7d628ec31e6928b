package link

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// paused reports whether the only link's reader is waiting for room.
func (r *rig) paused() (paused bool) {
	r.s.Do(func() {
		for l := range r.s.links {
			paused = l.out.isPaused()
		}
	})
	return paused
}

// fill sends requests whose replies stay unread, until the server stops reading from the link. It returns their number.
// The kernel's buffers take some millions of bytes first.
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

// TestUnreadLinkIsNotReadFrom: above the high-water mark the server stops reading from the edge, and loses nothing.
func TestUnreadLinkIsNotReadFrom(t *testing.T) {
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 1 << 30})
	big := bytes.Repeat([]byte("<"), 50_000)
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, big) }
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

// TestStuckLinkEnds: if neither end reads, the server closes the link after the timeout.
func TestStuckLinkEnds(t *testing.T) {
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 1 << 30, PingTimeout: 3 * time.Second})
	big := bytes.Repeat([]byte("<"), 50_000)
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, big) }
	e := r.open()
	r.fill(e)
	r.pass(2_999)
	if st := r.stats(); st.Links != 1 {
		t.Fatalf("the link ended too early: %+v", st)
	}
	r.pass(1)
	if st := r.stats(); st.Links != 0 || st.Ended[faultTimeout] != 1 {
		t.Errorf("%+v", st)
	}
}

// pending holds a handler's answers, all with the same body, until a link has room for them.
type pending struct {
	ids  []uint64
	body []byte
	most int // the largest number of unsent bytes seen
}

// send replies while the link has room.
func (p *pending) send(l *edgeLink) {
	for len(p.ids) > 0 && !l.Full() {
		l.Reply(p.ids[0], 200, p.body)
		p.ids = p.ids[1:]
		p.most = max(p.most, l.unsent())
	}
}

// unsent returns the number of the engine's bytes that have not been written.
func (l *edgeLink) unsent() int {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.unsent + len(l.batch)
}

// TestAnswerToMany: answers to all clients of a link at once arrive at the pace of the wire. What the link buffers
// stays bounded.
func TestAnswerToMany(t *testing.T) {
	for _, c := range []struct {
		name          string
		clients, size int
		bytesASecond  float64
	}{
		{"a room of 600 at 10 Gbit/s", 600, 250_000, 1.25e9},
		{"200,000 clients at 1 Gbit/s", 200_000, 1_000, 1.25e8},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			p := &pending{body: append([]byte("<body>"), bytes.Repeat([]byte("x"), c.size)...)}
			r.s.Do(func() {
				r.h.quiet = true
				r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) {
					if p.ids = append(p.ids, id); len(p.ids) == c.clients {
						p.send(l)
					}
				}
				r.h.onRoom = p.send
			})
			e := r.open()
			go func() {
				var frames []byte
				for id := range uint64(c.clients) {
					request := frame.Request{Address: []byte("192.0.2.7"), Body: []byte("<a/>")}
					frames = frame.AppendRequest(frames, id+1, request)
				}
				e.conn.Write(frames)
			}()
			e.takeReplies(c.clients, len(p.body), c.bytesASecond)
			if st := r.stats(); st.Links != 1 || st.Replies != int64(c.clients) || st.Live != 0 {
				t.Errorf("%+v", st)
			}
			limit := defaultMaxUnsentBytes + flushBytes + frame.HeaderBytes + len(p.body)
			if p.most > limit {
				t.Errorf("%d bytes waited on the link, more than %d", p.most, limit)
			}
			if all := c.clients * len(p.body); p.most*3 > all {
				t.Errorf("of %d bytes %d waited at a time: the link has never been full", all, p.most)
			}
		})
	}
}

// takeReplies reads n replies with bodies of the given size, at a wire's rate of bytesASecond.
func (e *edge) takeReplies(n, size int, bytesASecond float64) {
	e.t.Helper()
	want := n * (frame.HeaderBytes + size)
	buf := make([]byte, 256<<10)
	begun := time.Now()
	for got := len(e.buf); got < want; {
		time.Sleep(time.Duration(float64(got)/bytesASecond*1e9) - time.Since(begun))
		k, err := e.conn.Read(buf)
		if got += k; err != nil {
			e.t.Fatalf("the link ends after %d of %d bytes: %v", got, want, err)
		}
	}
}

// TestFullLinkIsNotTakenFrom: requests already read wait while the link has no room for their replies. The reader gets
// its batches back if the link ends meanwhile.
func TestFullLinkIsNotTakenFrom(t *testing.T) {
	const replyBytes = 100_000
	r := newRig(t, Config{MaxUnsentBytes: 2 << 20})
	big := bytes.Repeat([]byte("<"), replyBytes)
	most := 0
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) {
		l.Reply(id, 200, big)
		most = max(most, l.unsent())
	}
	e, f := r.open(), r.open()
	const requests = 600
	var frames []byte
	for id := range uint64(requests) {
		frames = frame.AppendRequest(frames, id+1, frame.Request{Body: []byte("<a/>")})
	}
	e.write(frames)
	f.write(frames)
	for id := range uint64(requests) {
		e.wantReply(id+1, 200, string(big))
	}
	f.conn.Close() // in the middle of the replies
	r.until("the end of the other one", func() bool { return r.stats().Links == 1 && r.passed() == 1 })
	r.s.Do(func() {
		if limit := 2<<20 + flushBytes + replyBytes + frame.HeaderBytes; most > limit {
			t.Errorf("%d bytes were unsent, more than %d", most, limit)
		}
	})
	r.pass(defaultPingTimeout.Milliseconds() - 1)
	e.request(1, "<a/>")
	e.readUntilReply(1)
}

// TestRoomIsShared: a Handler's kept replies get their turn on a full link, even if the replies to pending requests
// fill it each time.
func TestRoomIsShared(t *testing.T) {
	const requests = 1000
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 500_000})
	big := bytes.Repeat([]byte("<"), 100_000)
	taken, first := 0, 0
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) {
		taken++
		l.Reply(id, 200, big)
	}
	r.h.onRoom = func(*edgeLink) {
		if first == 0 {
			first = taken
		}
	}
	e := r.open()
	var frames []byte
	for id := range uint64(requests) {
		frames = frame.AppendRequest(frames, id+1, frame.Request{Body: []byte("<a/>")})
	}
	e.write(frames)
	r.until("the link to be full", func() (full bool) {
		r.s.Do(func() { full = r.h.last != nil && r.h.last.Full() })
		return full
	})
	for id := range uint64(requests) {
		e.wantReply(id+1, 200, string(big))
	}
	r.s.Do(func() {
		if first == 0 || first > requests/4 {
			t.Errorf("the Handler had its turn when %d of %d requests had been answered", first, taken)
		}
	})
}

// TestFullLinkBreaks: the server notices the end of a link at once, even if the link is full and the engine holds all
// batches.
func TestFullLinkBreaks(t *testing.T) {
	r := newRig(t, Config{HighWaterBytes: 100_000, MaxUnsentBytes: 500_000})
	big := bytes.Repeat([]byte("<"), 100_000)
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, big) }
	e := r.open()
	var frames []byte
	for id := range uint64(20_000) {
		frames = frame.AppendRequest(frames, id+1, frame.Request{Body: []byte("<a/>")})
	}
	r.s.Do(func() { // the reader continues while the engine is busy
		go e.conn.Write(frames)
		end := time.Now().Add(patience)
		for len(r.s.events) < batchesPerLink-1 && time.Now().Before(end) {
			runtime.Gosched()
		}
	})
	r.until("the link to be full", func() (full bool) {
		r.s.Do(func() { full = r.h.last.Full() && len(r.h.last.pending) == batchesPerLink-1 })
		return full
	})
	e.conn.(*net.TCPConn).SetLinger(0)
	e.conn.Close()
	r.until("the end of the link", func() bool { return r.stats().Links == 0 })
	if live := r.stats().Live; live != 0 {
		t.Errorf("%d requests are live", live)
	}
}

// readUntilReply discards frames until the reply to id.
func (e *edge) readUntilReply(id uint64) {
	e.t.Helper()
	for {
		f, ok := e.read()
		if !ok {
			e.t.Fatalf("the link ends before the reply to %x", id)
		}
		if f.ID == id {
			return
		}
	}
}

// TestProgressKeepsALink: a link stays open while its edge reads at all, however slowly.
func TestProgressKeepsALink(t *testing.T) {
	r := newRig(t, Config{PingTimeout: 3 * time.Second})
	big := bytes.Repeat([]byte("<"), 1_000_000)
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, big) }
	e := r.open()
	_ = e.conn.(*net.TCPConn).SetReadBuffer(64 << 10) // what the kernel takes is no progress of the edge
	var frames []byte
	for id := range uint64(40) {
		frames = frame.AppendRequest(frames, id+1, frame.Request{Body: []byte("<a/>")})
	}
	e.write(frames)
	moved := func() (at int64) {
		r.s.Do(func() { at = r.h.last.movedAt.Load() })
		return at
	}
	r.until("the link to be full", func() (full bool) {
		r.s.Do(func() { full = r.h.last != nil && r.h.last.Full() })
		return full
	})
	buf := make([]byte, 64<<10)
	for range 8 { // 24 seconds, eight times PingTimeout
		r.pass(2_900)
		for moved() != r.now.Load() {
			if _, err := io.ReadAtLeast(e.conn, buf, len(buf)); err != nil {
				t.Fatal(err)
			}
		}
		if st := r.stats(); st.Links != 1 {
			t.Fatalf("the link has ended: %+v", st)
		}
	}
	r.until("the end", func() bool { // the kernel may still take a part
		r.pass(3_000)
		return r.stats().Ended[faultTimeout] == 1
	})
}

// TestOneWriteForATurn: all replies of a turn are sent in one write.
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

// TestLargeFrames: a frame of the maximum size, larger than any initial buffer, passes among small ones.
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
