package edge

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// A waiting creation takes only the bytes of its frame, and the last one frees the last chunk.
func TestWaitingCreationsTakeTheirBytes(t *testing.T) {
	const clients = 800
	e, l := few(t, func(c *Config) { c.CreateTimeout, c.CreateWait = time.Hour, time.Hour })
	text := creation("ver='1.6'")
	for range clients + 2 {
		connect(t, e).post(text)
	}
	waitingNow(t, e, clients)
	e.worker0(func(w *worker) {
		chunks := 0
		for _, l := range w.creations.lanes {
			chunks += len(l.queue.chunks)
		}
		each := frame.HeaderBytes + len("127.0.0.1 ") + len(text)
		bytes, want := w.creations.chunks.bytes, clients*each/waitChunkBytes+1
		if chunks != want || bytes != chunks*waitChunkBytes {
			t.Errorf("%d chunks, %d bytes for %d creations of %d, want %d chunks", chunks, bytes, clients, each, want)
		}
		if n := len(w.creations.all) - numHeads; n > 2 {
			t.Errorf("%d openings beside those that the origin has", n)
		}
		if n := w.r.BufferedBytes(); n != 0 {
			t.Errorf("%d bytes are kept elsewhere", n)
		}
	})
	for range clients + 2 {
		l.reply(l.next().id, "<body sid='s' "+ns+"/>")
	}
	waitingNow(t, e, 0)
	e.advance(second)
	idle(t, e)
	e.worker0(func(w *worker) {
		if w.creations.chunks.spare != nil {
			t.Error("a chunk is kept although nothing has waited for a second")
		}
	})
}

// Waiting creations have a bound in bytes. Those whose clients have left do not keep others out, and the others keep
// their order.
func TestCreationsThatLeaveAreDropped(t *testing.T) {
	e, l := few(t, func(c *Config) {
		c.MaxBufferedBytes, c.CreateTimeout, c.CreateWait = waitingPart*waitChunkBytes, time.Hour, time.Hour
	})
	long := func(n int) string {
		return strings.Replace(withNumber(n), "wait=", "x='"+strings.Repeat("y", 3600)+"' wait=", 1)
	}
	var clients []*client
	post := func(n int) {
		clients = append(clients, connect(t, e))
		clients[n].post(long(n))
	}
	for n := range 2 {
		post(n)
		l.next()
	}
	const fit = 17
	for n := 2; n < 2+fit; n++ {
		post(n)
		waitingNow(t, e, n-1)
	}
	over := connect(t, e)
	over.post(long(99))
	over.get().want(t, 503, "")
	for n := 3; n < 2+fit; n += 2 {
		clients[n].Close()
	}
	waitingNow(t, e, fit/2+1)
	over.post(long(99)) // half of them are no reason to move the others
	over.get().want(t, 503, "")
	clients[4].Close()
	waitingNow(t, e, fit/2)
	post(2 + fit)
	waitingNow(t, e, fit/2+1)
	e.worker0(func(w *worker) {
		if q := &w.creations; q.queued != q.waiting || q.chunks.bytes > waitChunkBytes {
			t.Errorf("%d frames in %d bytes for %d creations", q.queued, q.chunks.bytes, q.waiting)
		}
	})
	for _, n := range []int{0, 1} {
		clients[n].Close()
		l.hears("gone ")
	}
	e.advance(3)
	for _, n := range []int{2, 6, 8, 10, 12, 14, 16, 18, 19} {
		r := l.next()
		if want := fmt.Sprintf("n='%d'", n); !strings.Contains(r.body, want) {
			t.Fatalf("got %.80s, want %s", r.body, want)
		}
		l.reply(r.id, fmt.Sprintf("<body sid='s%d' %s/>", n, ns))
		clients[n].get().want(t, 200, fmt.Sprintf("sid='s%d'", n))
	}
}

// TestChunksAreUnmapped: a burst's memory is the system's again at once, without a collection.
func TestChunksAreUnmapped(t *testing.T) {
	resident := func() (bytes int) {
		t.Helper()
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Fatal(err)
		}
		var size, pages int
		if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
			t.Fatal(err)
		}
		return pages * os.Getpagesize()
	}
	const frames, frameBytes = 16_000, 8_000
	var q waitQueue
	var p waitChunks
	for id := range uint64(frames) {
		to := p.room(&q, frameBytes)
		contents := make([]byte, frameBytes-frame.HeaderBytes)
		*to = append(frame.AppendHeader(*to, id, len(contents)), contents...)
	}
	full := resident()
	for {
		_, size, ok := q.front()
		if !ok {
			break
		}
		p.drop(&q, size)
	}
	for range second + 1 {
		p.trim()
	}
	if given := full - resident(); p.spare != nil || given < frames*frameBytes*9/10 {
		t.Errorf("%d bytes were given back of %d", given, frames*frameBytes)
	}
}
