package loop

import (
	"io"

	"megaphone/table"
)

// Transport stands between the plaintext of secure connections and the bytes that their sockets carry. TLS is one. A
// reactor has at most one Transport, and its other connections are plain. The Transport keeps its state by connection,
// in tables of its own. Of the reactor it may call Resume and Close, which take effect at the end of the turn.
//
// All bytes that come pass through Open, all plaintext that goes through Seal. What they return is valid until the next
// call of the Transport.
type Transport interface {
	// Start begins connection c. It returns the bytes to send first, if this end speaks first.
	Start(c uint32) (first []byte)
	// Open takes the whole records at the start of p. It borrows p until return and works in place.
	Open(c uint32, p []byte) Opened
	// Seal appends to dst the records that carry head and then body. Before the transport is ready it appends nothing.
	Seal(c uint32, dst, head, body []byte) []byte
	// Close returns the last bytes of c, which is closed gracefully, or whose peer has ended the stream. Nothing is
	// sealed after it.
	Close(c uint32) (last []byte)
	// End releases the state of c. It is called once for each Start.
	End(c uint32)
	// Turn is called at the end of a turn in which a secure connection has begun to wait, become ready or ended. It may
	// resume connections that wait.
	Turn()
}

// Opened is the result of Transport.Open.
type Opened struct {
	Used   int    // the length of the records taken; Open gets the rest again, with the bytes that follow
	Plain  int    // the length of their plaintext, which is now at the start of p
	Answer []byte // bytes to send first: of a handshake, or an alert
	Ready  bool   // the handshake is over with these records; from now on Seal has keys
	Wait   bool   // the connection is not read until the Transport resumes it; Open then gets the rest again
	End    error  // io.EOF: the peer has ended the stream in order; others: no further record can be read
}

// maxSealBytes is the largest buffer of sealed records that a reactor keeps.
const maxSealBytes = 256 << 10

// SetTransport sets the Transport of the reactor's secure connections, before the first Secure. It calls ready, unless
// nil, when the handshake of a connection is over, so that its owner may write.
func (r *Reactor) SetTransport(t Transport, ready func(c uint32)) {
	r.transport, r.transportReady = t, ready
}

// Secure puts the Transport under connection c, which must be open. In Data, the input that Data does not consume goes
// to the Transport. Data then gets plaintext, and Write takes plaintext, but drops it before the Transport is ready.
// DropInput also drops the rest of a record, so a secure connection must be closed after it. The owner bounds the time
// of the handshake, by Arm.
func (r *Reactor) Secure(c uint32) {
	s := r.conns.At(c)
	if state(s.State) != stateOpen || s.Flags&flagSecure != 0 {
		panic("loop: Secure of a connection that is not open, or secure already")
	}
	s.Flags |= flagSecure
	r.sendRecords(c, s, r.transport.Start(c), r.maxOutput)
}

// openRecords takes bytes of a secure connection behind the plaintext p[:plain]. It delivers plaintext once there are
// need bytes.
func (r *Reactor) openRecords(c uint32, s *table.Conn, p []byte, plain, need int) {
	end := r.endOf(s)
	if end == nil {
		o := r.transport.Open(c, p[plain:])
		rest := p[plain+o.Used:]
		plain += o.Plain
		p = p[:plain+copy(p[plain:], rest)]
		if end = o.End; end != nil {
			p = p[:plain] // nothing follows an end
		}
		r.sendRecords(c, s, o.Answer, r.maxOutput)
		if o.Wait && state(s.State) == stateOpen {
			s.Flags |= flagPaused
			r.settle(c)
		}
		if o.Wait || o.Ready || o.End != nil {
			r.scheduleEndTurn()
		}
		if o.Ready && r.transportReady != nil && state(s.State) == stateOpen {
			r.transportReady(c)
		}
	}
	switch {
	case state(s.State) != stateOpen:
		r.dropInput(s)
		return
	case plain > 0 && plain >= need && !r.inputWaits(s):
		r.deliver(c, p, plain)
	default:
		r.keep(c, s, p, plain, 0, need)
	}
	if end != nil && state(s.State) == stateOpen {
		r.endInput(c, s, end)
	}
}

// inputWaits reports whether a later event delivers the input of connection s: it is paused, its output has not left,
// or it is in Reactor.ready.
func (r *Reactor) inputWaits(s *table.Conn) bool {
	return s.Out != 0 || s.Flags&(flagPaused|flagReady) != 0
}

// endOf returns the end of the stream that waits until the owner has taken the input before it.
func (r *Reactor) endOf(s *table.Conn) error {
	if s.In == 0 {
		return nil
	}
	return r.bufs.at(s.In).end
}

// endInput ends a connection whose Transport has ended. Like a FIN, the end is seen after the input before it, and not
// while the connection is not read.
func (r *Reactor) endInput(c uint32, s *table.Conn, end error) {
	switch {
	case r.inputWaits(s):
		if s.In == 0 {
			s.In = r.bufs.get(c, 0)
		}
		r.bufs.at(s.In).end = end
	case end == io.EOF:
		r.sendLast(c, s)
		r.end(c, CausePeer)
	default:
		r.CloseGracefully(c)
	}
}

// seal returns the records for head and body.
func (r *Reactor) seal(c uint32, head, body []byte) []byte {
	if cap(r.sealed) > maxSealBytes {
		r.sealed = nil
	}
	r.sealed = r.transport.Seal(c, r.sealed[:0], head, body)
	return r.sealed
}

// sendLast sends the Transport's last bytes of connection c. MaxOutputBytes does not bound these few bytes, because the
// output that waits before them must still arrive.
func (r *Reactor) sendLast(c uint32, s *table.Conn) {
	last := r.transport.Close(c)
	if s.Out == 0 {
		r.sendRecords(c, s, last, r.maxOutput)
		return
	}
	b := r.bufs.at(s.Out)
	b.B = append(b.B, last...)
	r.bufs.bill(s.Out)
}

func (r *Reactor) sendRecords(c uint32, s *table.Conn, p []byte, most int) {
	if len(p) > 0 {
		r.send(c, s, p, nil, most)
	}
}
