package link

import (
	"errors"
	"io"
	"time"

	"megaphone/codec/frame"
)

// The sizes of batch buffers. A link with little traffic stays at the minimum.
const (
	minBatchBytes  = 16 << 10
	maxBatchBytes  = 256 << 10 // exceeded only for a single frame that needs it
	batchesPerLink = 3         // one being read into, one queued, one that the engine processes
	lingerTime     = time.Second
)

// read is the reader's goroutine: it exchanges hello and welcome, then reads batches until the connection ends. Before
// the welcome there is no writer, and the engine does not see the connection. A flood of strangers therefore costs the
// engine nothing.
func (l *edgeLink) read() {
	s := l.server
	defer s.readers.Done()
	defer s.door.leave(l)
	defer l.conn.Close()
	cur := &batch{}
	if f := l.shakeHands(cur); f != faultNone {
		if away := fault(l.sentAway.Load()); away != faultNone {
			f = away
		}
		s.refused(l, f)
		l.lastWord(f, cur)
		return
	}
	l.out.init(s.cfg.HighWaterBytes, s.cfg.MaxUnsentBytes)
	l.free = make(chan *batch, batchesPerLink)
	for range batchesPerLink - 1 {
		l.free <- &batch{}
	}
	if !s.send(event{kind: eventOpened, link: l}) {
		return
	}
	fault := l.readFrames(cur)
	if s.send(event{kind: eventClosed, link: l, fault: fault}) {
		l.out.waitForClosing() // by then the engine has queued its last frame
	}
	l.out.close()
	l.linger(cur)
}

// lastWord sends the reason to a refused connection.
func (l *edgeLink) lastWord(f fault, b *batch) {
	if reason := reasons[f]; reason != "" {
		l.say([]byte("error " + reason + "\n"))
	}
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	l.linger(b)
}

// readFrames passes whole frames to the engine until the connection ends.
func (l *edgeLink) readFrames(cur *batch) fault {
	max := l.server.cfg.MaxContentsBytes
	need := frame.HeaderBytes
	for {
		// The buffer already holds what followed the hello.
		end, more, err := wholeFrames(cur.buf, max)
		if end > 0 {
			cur.end = end
			next := <-l.free
			next.buf = append(next.buf[:0], cur.buf[end:]...)
			if !l.server.send(event{kind: eventBatch, link: l, batch: cur}) {
				return faultNone
			}
			cur = next
		}
		if err != nil {
			return faultGrammar
		}
		need = more
		if !l.out.waitForRoom() {
			return faultNone
		}
		if fault, ok := l.fill(cur, need); !ok {
			return fault
		}
	}
}

// fill reads once into a buffer with room for at least need bytes in total.
func (l *edgeLink) fill(b *batch, need int) (f fault, ok bool) {
	b.grow(need)
	n, err := l.conn.Read(b.buf[len(b.buf):cap(b.buf)])
	if n > 0 {
		b.buf = b.buf[:len(b.buf)+n]
		l.heardAt.Store(l.server.clock.now())
		return faultNone, true
	}
	if errors.Is(err, io.EOF) {
		return faultNone, false
	}
	return faultIO, false
}

// grow makes room for need bytes in total. If the last read filled the buffer, it doubles the buffer up to
// maxBatchBytes.
func (b *batch) grow(need int) {
	want := cap(b.buf)
	if len(b.buf) == cap(b.buf) {
		want = max(minBatchBytes, min(2*want, maxBatchBytes))
	}
	if want = max(want, need, len(b.buf)+1); want > cap(b.buf) {
		b.buf = append(make([]byte, 0, want), b.buf...)
	}
}

// wholeFrames returns the end of the last whole frame of p, and the number of bytes needed from there to parse on.
func wholeFrames(p []byte, max int) (end, need int, err *frame.Error) {
	for {
		_, n, ok, err := frame.Parse(p[end:], max)
		if err != nil || !ok {
			return end, n, err
		}
		end += n
	}
}

// linger reads for a moment after the last frame, so that the edge receives it. Closing a socket with unread bytes
// would discard that frame (RFC 9293, section 3.6.1).
func (l *edgeLink) linger(b *batch) {
	l.conn.SetReadDeadline(time.Now().Add(lingerTime))
	buf := b.buf[:cap(b.buf)]
	if len(buf) == 0 {
		buf = make([]byte, minBatchBytes)
	}
	for {
		if _, err := l.conn.Read(buf); err != nil {
			return
		}
	}
}
