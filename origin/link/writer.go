package link

import (
	"time"
)

// The writer's sizes. It does not keep a buffer that has grown beyond keepBytes.
const (
	maxWriteBytes = 128 << 10 // small enough to show progress: a wire that takes this within PingTimeout is alive
	keepBytes     = 1 << 20
)

// write is the writer's goroutine. It sends everything available in one write, until the link is closing.
func (l *edgeLink) write() {
	s := l.server
	defer s.writers.Done()
	var buf []byte
	for {
		if buf = l.out.take(buf[:0]); buf == nil {
			break
		}
		for rest := buf; len(rest) > 0; {
			n, err := l.conn.Write(rest[:min(len(rest), maxWriteBytes)])
			s.writes.Add(1)
			s.bytesOut.Add(int64(n))
			l.movedAt.Store(s.clock.now())
			if l.out.wrote(n) {
				s.send(event{kind: eventRoom, link: l})
			}
			if err != nil {
				l.conn.Close()
				l.out.drop(len(rest) - n)
				// The reader notices as well, unless it waits for batches that the engine holds because the link is
				// full.
				s.send(event{kind: eventClosed, link: l, fault: faultIO})
				return
			}
			rest = rest[n:]
		}
		if cap(buf) > keepBytes {
			buf = nil
		}
	}
	// Everything is sent. The edge sees the end of input, and the reader lingers for the edge's own.
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// hurry bounds the time of the remaining writes once the link is closing.
func (l *edgeLink) hurry() { l.conn.SetWriteDeadline(time.Now().Add(lingerTime)) }
