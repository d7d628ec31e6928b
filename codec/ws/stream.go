package ws

import "unsafe"

// Stream is the receiving end of a WebSocket connection between two reads; zero at the start of a server's. It has no
// pointers, and fits a connection's slot. The bytes that it counts are at the start of the input that the caller keeps:
//
//	joined          hole        header   payload
//	|---------------|-----------|--------|-----------------|- - - - - -
//	earlier         headers,    the current frame; the     not yet
//	fragments       controls    first done bytes are text  received
type Stream struct {
	joined uint32 // bytes of the message in earlier frames
	hole   uint32 // bytes between them and the current frame, which are no longer used
	done   uint32 // bytes of the current payload that are unmasked and checked
	text   text   // of the message so far
	flags  uint8
}

// Bits of Stream.flags.
const (
	fragmented = 1 << iota // a message has begun, and its last fragment has not
	client                 // the peer is a server
	ended                  // after a close frame or a fault: the rest of the input is ignored
)

const (
	streamBytes = 16 // it must fit the slot of a connection
	_           = uint(streamBytes - unsafe.Sizeof(Stream{}))
	_           = uint(unsafe.Sizeof(Stream{}) - streamBytes)

	// maxBound is the largest bound of messages, because the fields of a Stream have 32 bits.
	maxBound = 1 << 30
)

// ClientStream returns the start of a client's stream: its peer does not mask.
func ClientStream() Stream { return Stream{flags: client} }

// Event is a message or a control frame.
type Event struct {
	Opcode  Opcode // Text, Close, Ping or Pong
	Code    Code   // of Close; CodeNone if the frame has none
	Payload []byte // of Close: the reason
}

// Next takes the next event from p, which is all input that is not consumed yet. It writes into p, because it unmasks
// payloads and joins fragments in place: e.Payload is a slice of p, valid until the next call. The caller consumes the
// first n bytes of p, whatever the outcome. If not ok and err is nil, there is no further event in p; call again with
// the rest of p, as it is now, and more bytes behind it.
//
// maxBytes bounds a message. Next panics if it is more than 1 GiB. After an error or a Close, Next consumes and ignores
// all input (RFC 6455 sections 1.4 and 7.1.7).
func (s *Stream) Next(p []byte, maxBytes int) (e Event, n int, ok bool, err *Error) {
	if maxBytes > maxBound {
		panic("ws: a bound of messages beyond 1 GiB")
	}
	for s.flags&ended == 0 {
		rest := p[n:]
		at := int(s.joined) + int(s.hole)
		h, err := s.parseHeader(rest[at:], maxBytes-int(s.joined))
		if err != nil {
			return s.fail(p, err)
		}
		if h.bytes == 0 {
			return Event{}, n + s.compact(rest), false, nil
		}
		payload := rest[at+h.bytes:]
		payload = payload[:min(len(payload), h.length)]
		if err := s.receive(&h, payload); err != nil {
			return s.fail(p, err)
		}
		switch {
		case len(payload) < h.length:
			return Event{}, n + s.compact(rest), false, nil
		case h.opcode == Close:
			return s.close(p, payload)
		case h.opcode.control():
			return Event{Opcode: h.opcode, Payload: payload}, n + s.skip(at, &h), true, nil
		case !h.fin:
			n += s.join(rest, at, &h, payload)
			continue
		case s.text != textWhole:
			return s.fail(p, errText) // a character has no end
		}
		if s.joined > 0 {
			payload = rest[:int(s.joined)+copy(rest[s.joined:], payload)]
		}
		*s = Stream{flags: s.flags & client}
		return Event{Opcode: Text, Payload: payload}, n + at + h.bytes + h.length, true, nil
	}
	return Event{}, len(p), false, nil
}

// receive unmasks the bytes of a payload that have arrived since the last call, and checks them if they are text.
func (s *Stream) receive(h *header, payload []byte) *Error {
	fresh := payload[s.done:]
	isASCII := mask(fresh, rotate(h.key, s.done))
	s.done = uint32(len(payload))
	if h.opcode.control() || isASCII && s.text == textWhole {
		return nil
	}
	if s.text = s.text.advance(fresh); s.text == textBad {
		return errText
	}
	return nil
}

// join puts a fragment that is not the last one behind those before it. It returns the number of bytes to consume: the
// header of the first fragment, whose payload then is at the start.
func (s *Stream) join(p []byte, at int, h *header, payload []byte) (n int) {
	s.flags |= fragmented
	s.done = 0
	if s.joined == 0 {
		n = at + h.bytes
	} else {
		copy(p[s.joined:], payload)
		s.hole += uint32(h.bytes)
	}
	s.joined += uint32(h.length)
	return n
}

// skip leaves a control frame behind. It returns the number of bytes to consume: the frame, unless it is behind
// fragments.
func (s *Stream) skip(at int, h *header) (n int) {
	s.done = 0
	if s.joined > 0 {
		s.hole += uint32(h.bytes + h.length)
		return 0
	}
	return at + h.bytes + h.length
}

// compact moves the joined fragments up, over the hole, and returns the number of bytes to consume. It does so only if
// the hole is a third of the input, because then as many bytes have arrived since the last time as are moved, up to a
// factor.
func (s *Stream) compact(p []byte) (n int) {
	if n = int(s.hole); n < len(p)-2*n {
		return 0
	}
	copy(p[n:], p[:s.joined])
	s.hole = 0
	return n
}

// close takes the payload of a close frame. Section 5.5.1: nothing of the peer counts after it.
func (s *Stream) close(p, payload []byte) (e Event, n int, ok bool, err *Error) {
	c, reason, err := parseClose(payload)
	if err != nil {
		return s.fail(p, err)
	}
	s.flags |= ended
	return Event{Opcode: Close, Code: c, Payload: reason}, len(p), true, nil
}

func (s *Stream) fail(p []byte, err *Error) (e Event, n int, ok bool, _ *Error) {
	s.flags |= ended
	return Event{}, len(p), false, err
}
