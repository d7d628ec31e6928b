package link

import (
	"net"
	"time"
)

// The writer's sizes: a buffer that had to grow beyond the second is not kept.
const (
	maxWriteBytes = 128 << 10 // so that progress is seen: a wire that takes this within PingTimeout is alive
	keepBytes     = 1 << 20
)

// write is the writer's goroutine: it writes whatever there is in one write, until the link is closing.
func (l *Link) write() {
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
				// The reader notices as well, unless it waits for its batches, which the engine keeps for want of room.
				s.send(event{kind: eventClosed, link: l, fault: FaultIO})
				return
			}
			rest = rest[n:]
		}
		if cap(buf) > keepBytes {
			buf = nil
		}
	}
	// Everything is out. The edge sees the end, and the reader waits a moment for its own.
	if c, ok := l.conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
}

// hurry bounds what is left to be written, once the link is closing.
func (l *Link) hurry() { l.conn.SetWriteDeadline(time.Now().Add(lingerTime)) }
