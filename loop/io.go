package loop

import (
	"math"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
	"megaphone/stats"
	"megaphone/table"
)

// clientRoom is the least free space given to a partial input buffer. It fits the rest of most requests, and a slow
// client costs little.
const clientRoom = 2 << 10

// readable reads once, into the reactor's own buffer or behind the kept input.
func (r *Reactor) readable(c uint32) {
	s := r.conns.At(c)
	switch state(s.State) {
	case stateLingering:
		r.discard(c)
		return
	case stateOpen:
	default:
		return
	}
	if s.Flags&flagReady != 0 {
		return // kept input is delivered first, at the end of this turn; the poller will report the rest again
	}
	buf, kept := r.read, (*buffer)(nil)
	if s.In != 0 {
		kept = r.bufs.at(s.In)
		want := clientRoom // doubled as input comes, so that a large announced length costs nothing yet
		buf = r.bufs.room(s.In, want)
	}
	n, err := sys.Read(int(s.FD), buf)
	r.counters[stats.Reads]++
	r.counters[stats.BytesIn] += uint64(max(n, 0))
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		r.end(c, CauseReset)
	case n == 0:
		r.end(c, CausePeer)
	case kept == nil:
		r.input(c, r.read[:n], 0, 0)
	default:
		kept.B = kept.B[:len(kept.B)+n]
		r.bufs.bill(s.In)
		r.input(c, kept.B, kept.plain, kept.need)
	}
}

// input takes bytes of connection c behind the plaintext p[:plain], and delivers plaintext once there are need bytes.
// It is the one place where bytes that have been read become plaintext.
func (r *Reactor) input(c uint32, p []byte, plain, need int) {
	s := r.conns.At(c)
	switch {
	case s.Flags&flagSecure != 0:
		r.openRecords(c, s, p, plain, need)
	case len(p) >= need:
		r.deliver(c, p, len(p))
	default:
		r.bufs.at(s.In).plain = len(p)
	}
}

// discard discards input of a lingering connection.
func (r *Reactor) discard(c uint32) {
	s := r.conns.At(c)
	n, err := sys.Read(int(s.FD), r.read)
	s.SetLingered(s.Lingered() + uint32(max(n, 0)))
	if n == 0 || err != nil && err != unix.EAGAIN && err != unix.EINTR || s.Lingered() > maxLingerBytes {
		r.Close(c)
	}
}

// Kept returns the input of connection c that the owner has not consumed. It is valid until the owner returns.
func (r *Reactor) Kept(c uint32) []byte {
	if s := r.conns.At(c); s.In != 0 {
		b := r.bufs.at(s.In)
		return b.B[:b.plain]
	}
	return nil
}

// redeliver delivers kept input to a resumed connection.
func (r *Reactor) redeliver(c uint32) {
	s := r.conns.At(c)
	if s.Flags&flagReady == 0 || state(s.State) != stateOpen {
		return
	}
	s.Flags &^= flagReady
	if s.In != 0 && !r.inputWaits(s) {
		b := r.bufs.at(s.In)
		r.input(c, b.B, b.plain, 0)
	}
}

// deliver passes the plaintext p[:plain] to the owner, and keeps what the owner does not consume, with the rest of p.
func (r *Reactor) deliver(c uint32, p []byte, plain int) {
	s := r.conns.At(c)
	secure := s.Flags & flagSecure
	consumed, need := r.handler.Data(c, p[:plain])
	poison(p[:consumed])
	if state(s.State) != stateOpen {
		r.dropInput(s) // closed by the owner
		return
	}
	if s.Flags&flagSecure != secure {
		plain, need = consumed, Again // Data has called Secure: the rest are records
	}
	r.keep(c, s, p, plain, consumed, need)
}

// keep keeps p[consumed:] until the owner can use need bytes of plaintext. p[:plain] is plaintext.
func (r *Reactor) keep(c uint32, s *table.Conn, p []byte, plain, consumed, need int) {
	rest := p[consumed:]
	switch {
	case len(rest) == 0:
		r.dropInput(s)
		return
	case s.In == 0:
		s.In = r.bufs.get(c, len(rest))
		b := r.bufs.at(s.In)
		b.B = append(b.B[:0], rest...)
	case consumed > 0:
		b := r.bufs.at(s.In)
		b.B = b.B[:copy(b.B, rest)]
		b.seen = max(b.seen-consumed, 0)
	default:
		b := r.bufs.at(s.In)
		b.B = b.B[:len(rest)]
	}
	again := need == Again
	if again {
		need = 0
	}
	b := r.bufs.at(s.In)
	b.plain, b.need = plain-consumed, need
	r.bufs.bill(s.In)
	if again {
		r.makeReady(c)
	}
}

// Gained returns how many bytes of input have been kept for connection c since the previous call, or since the first
// kept byte. An owner that waits for the rest of its input uses it to measure the rate.
func (r *Reactor) Gained(c uint32) int {
	s := r.conns.At(c)
	if s.In == 0 {
		return 0
	}
	b := r.bufs.at(s.In)
	n := b.plain - b.seen
	b.seen = b.plain
	return n
}

// Write sends head and then body on connection c, at once or when the socket has room. It borrows both until return.
// One output may have any size within MaxBufferedBytes. A further one that makes more than MaxOutputBytes wait closes
// the connection.
func (r *Reactor) Write(c uint32, head, body []byte) { r.output(c, head, body, r.maxOutput) }

// WriteUnbounded is Write without MaxOutputBytes. The owner must bound the output that waits.
func (r *Reactor) WriteUnbounded(c uint32, head, body []byte) { r.output(c, head, body, math.MaxInt) }

// output sends head and body. If that makes more than most bytes wait behind other output, the connection is closed.
func (r *Reactor) output(c uint32, head, body []byte, most int) {
	s := r.conns.At(c)
	if state(s.State) != stateOpen {
		return
	}
	s.Flags |= flagServed
	if s.Flags&flagSecure != 0 { // the one place where plaintext becomes bytes to be written
		r.sendRecords(c, s, r.seal(c, head, body), most)
		return
	}
	r.send(c, s, head, body, most)
}

// send sends bytes as they are.
func (r *Reactor) send(c uint32, s *table.Conn, head, body []byte, most int) {
	if s.Out != 0 {
		r.queue(c, s, head, body, most)
		return
	}
	n, err := r.write(int(s.FD), head, body)
	r.counters[stats.Writes]++
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		n = 0
	case err != nil:
		r.end(c, CauseReset)
		return
	}
	r.counters[stats.BytesOut] += uint64(n)
	if n == len(head)+len(body) {
		return
	}
	r.counters[stats.ShortWrites]++
	if n < len(head) {
		head = head[n:]
	} else {
		head, body = nil, body[n-len(head):]
	}
	r.queue(c, s, head, body, most)
}

// write makes one write system call.
func (r *Reactor) write(fd int, head, body []byte) (int, error) {
	switch {
	case len(body) == 0:
		return sys.Write(fd, head)
	case len(head) == 0:
		return sys.Write(fd, body)
	}
	r.iov[0], r.iov[1] = head, body
	n, err := sys.Writev(fd, r.iov[:])
	r.iov[0], r.iov[1] = nil, nil
	return n, err
}

// queue keeps output for later.
func (r *Reactor) queue(c uint32, s *table.Conn, head, body []byte, most int) {
	if s.Out == 0 {
		s.Out = r.bufs.get(c, len(head)+len(body))
		r.settle(c)
	}
	b := r.bufs.at(s.Out)
	if waiting := len(b.B) - b.sent; waiting > 0 && waiting+len(head)+len(body) > most {
		r.counters[stats.SlowReaders]++
		r.end(c, CauseSlow)
		return
	}
	b.B = append(append(b.B, head...), body...)
	r.bufs.bill(s.Out)
}

// Stow keeps p for connection c until Unstow, which must come before c is freed. It borrows p until return. The buffer
// counts against MaxBufferedBytes. If it is shed as the largest of the heaviest client, c is closed.
func (r *Reactor) Stow(c uint32, p []byte) (i uint32) {
	i = r.bufs.get(c, len(p))
	b := r.bufs.at(i)
	b.B, b.stowed = append(b.B[:0], p...), true
	r.bufs.bill(i)
	return i
}

// Stowed returns the bytes kept by Stow. They are valid until Unstow.
func (r *Reactor) Stowed(i uint32) []byte { return r.bufs.at(i).B }

// Unstow releases a buffer kept by Stow.
func (r *Reactor) Unstow(i uint32) { r.bufs.put(i) }

// writable sends pending output.
func (r *Reactor) writable(c uint32) {
	s := r.conns.At(c)
	if state(s.State) == stateEnding || s.Out == 0 {
		return
	}
	b := r.bufs.at(s.Out)
	n, err := sys.Write(int(s.FD), b.B[b.sent:])
	r.counters[stats.Writes]++
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		r.end(c, CauseReset)
		return
	}
	r.counters[stats.BytesOut] += uint64(n)
	if b.sent += n; b.sent < len(b.B) {
		if state(s.State) == stateLingering {
			r.wheel.Arm(c, r.now+drainTicks) // there is progress
		} else {
			r.handler.Progress(c)
		}
		return
	}
	r.bufs.put(s.Out)
	s.Out = 0
	if state(s.State) == stateLingering {
		r.linger(c)
		return
	}
	r.settle(c)
	r.makeReady(c)
	r.handler.Flushed(c)
}
