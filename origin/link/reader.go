package link

import (
	"errors"
	"io"
	"net"
	"time"

	"megaphone/codec"
)

// The sizes of batch buffers. A link that carries little keeps to the first.
const (
	minBatchBytes  = 16 << 10
	maxBatchBytes  = 256 << 10 // more is read into one only when a single frame needs it
	batchesPerLink = 3         // one that is read into, one that waits, one that the engine works on
	lingerTime     = time.Second
)

// read is the reader's goroutine: hello and welcome, then batches until the connection ends. There is no writer, and
// the engine does not know of the connection, before it has been welcomed: a flood of strangers costs it nothing.
func (l *Link) read() {
	s := l.server
	defer s.readers.Done()
	defer s.door.leave(l)
	defer l.conn.Close()
	cur := &batch{}
	if fault := l.shakeHands(cur); fault != FaultNone {
		if away := Fault(l.sentAway.Load()); away != FaultNone {
			fault = away
		}
		s.refused(l, fault)
		l.lastWord(fault, cur)
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
		l.out.waitForClosing() // by then the engine has said its last word
	}
	l.out.close()
	l.linger(cur)
}

// lastWord tells a connection that is refused why.
func (l *Link) lastWord(f Fault, b *batch) {
	if reason := reasons[f]; reason != "" {
		l.say([]byte("error " + reason + "\n"))
	}
	if c, ok := l.conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
	l.linger(b)
}

// readFrames hands over whole frames until the connection ends.
func (l *Link) readFrames(cur *batch) Fault {
	max := l.server.cfg.MaxContentsBytes
	need := codec.FrameHeaderBytes
	for {
		// What came with the hello is there already.
		end, more, err := wholeFrames(cur.buf, max)
		if end > 0 {
			cur.end = end
			next := <-l.free
			next.buf = append(next.buf[:0], cur.buf[end:]...)
			if !l.server.send(event{kind: eventBatch, link: l, batch: cur}) {
				return FaultNone
			}
			cur = next
		}
		if err != nil {
			return FaultGrammar
		}
		need = more
		if !l.out.waitForRoom() {
			return FaultNone
		}
		if fault, ok := l.fill(cur, need); !ok {
			return fault
		}
	}
}

// fill reads once, into a buffer with room for need bytes in all.
func (l *Link) fill(b *batch, need int) (f Fault, ok bool) {
	b.grow(need)
	n, err := l.conn.Read(b.buf[len(b.buf):cap(b.buf)])
	if n > 0 {
		b.buf = b.buf[:len(b.buf)+n]
		l.heardAt.Store(l.server.clock.now())
		return FaultNone, true
	}
	if errors.Is(err, io.EOF) {
		return FaultNone, false
	}
	return FaultIO, false
}

// grow makes room for need bytes in all, and for more than the last read brought if that filled the buffer.
func (b *batch) grow(need int) {
	want := cap(b.buf)
	if len(b.buf) == cap(b.buf) {
		want = max(minBatchBytes, min(2*want, maxBatchBytes))
	}
	if want = max(want, need, len(b.buf)+1); want > cap(b.buf) {
		b.buf = append(make([]byte, 0, want), b.buf...)
	}
}

// wholeFrames returns where the last whole frame of p ends, and how many bytes from there on it takes to know more.
func wholeFrames(p []byte, max int) (end, need int, err *codec.FrameError) {
	for {
		_, n, ok, err := codec.ParseFrame(p[end:], max)
		if err != nil || !ok {
			return end, n, err
		}
		end += n
	}
}

// linger reads on for a moment after our last word, so that the edge gets to see it: closing a socket with unread bytes
// would throw it away (RFC 9293, section 3.6.1).
func (l *Link) linger(b *batch) {
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
