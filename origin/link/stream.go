package link

import "megaphone/codec/frame"

// StreamHandler processes streams: clients to which both ends may send at any time (PROTOCOL.md, Streams). The engine
// calls all methods on its own goroutine, in the order of the frames, which is also that of the requests.
type StreamHandler interface {
	// Opened reports a new stream. The handler calls Accept or End, now or later. It borrows o until return.
	Opened(s *Stream, o *frame.Open)
	// Message reports one message. It borrows p until return.
	Message(s *Stream, p []byte)
	// Room reports that a stream that was full is no longer.
	Room(s *Stream)
	// Ended reports that the client or its link has ended the stream, with the code of the client's close frame, 1005
	// or 1006; with 1009 after a message that the edge does not take. It is not called after End.
	Ended(s *Stream, code int)
}

// codeLost is the code of an end without a close frame; codeTooLarge that of a message that is too large.
const (
	codeLost     = 1006
	codeTooLarge = 1009
)

// Stream is one client. Its methods belong to the engine's goroutine. They do nothing once it has ended.
type Stream struct {
	Data any // the handler's own

	link     *edgeLink // nil: it has ended
	id       uint64
	window   int32 // bytes that may be sent; a message may take it below zero
	taken    int32 // bytes received and not acknowledged
	deferred int32 // those of them that the handler has not processed
}

// Accept lets the client's WebSocket begin.
func (s *Stream) Accept() {
	if l := s.link; l != nil {
		l.batch = append(frame.AppendHeader(l.batch, s.id, 1), frame.StreamOpens)
		l.appended()
	}
}

// Send sends one message, which must begin with '<'. It copies p. A handler that respects Full sends a client less than
// a window and one message that it has not read. A message that exceeds the edge's limit ends the stream.
func (s *Stream) Send(p []byte) {
	l := s.link
	switch {
	case l == nil:
		return
	case len(p) == 0 || p[0] != '<':
		panic("link: a message of a stream that does not begin with '<'")
	case len(p) > l.hello.Max:
		l.server.stats.TooLarge++
		s.End(codeTooLarge, "")
		l.server.cfg.Streams.Ended(s, codeTooLarge)
		return
	}
	s.window -= int32(len(p))
	l.server.stats.MessagesOut++
	l.batch = frame.Append(l.batch, s.id, p)
	l.appended()
}

// Full reports whether messages that can wait must wait: the client or the link has too much to read.
// StreamHandler.Room is called when it no longer does.
func (s *Stream) Full() bool {
	l := s.link
	if l == nil {
		return false
	}
	full := s.window <= 0 || l.Full()
	if full {
		if l.blocked == nil {
			l.blocked = make(map[*Stream]struct{})
		}
		l.blocked[s] = struct{}{}
	}
	return full
}

// Defer leaves n bytes of the message that is being handled unacknowledged until Acknowledge. A handler that queues
// messages uses it, so that the client's window bounds the queue.
func (s *Stream) Defer(n int) { s.deferred += int32(n) }

// Acknowledge acknowledges bytes that were deferred.
func (s *Stream) Acknowledge(n int) {
	if s.link != nil {
		s.deferred -= int32(n)
		s.link.acknowledge(s)
	}
}

// End ends the stream. The client gets a close frame with that code and text.
func (s *Stream) End(code int, text string) {
	if l := s.link; l != nil {
		l.batch = frame.AppendEnd(l.batch, s.id, code, text)
		l.appended()
		s.forget()
	}
}

// forget frees the stream's id.
func (s *Stream) forget() {
	delete(s.link.streams, s.id)
	delete(s.link.blocked, s)
	s.link.server.stats.Streams--
	s.link = nil
}

// ofStream reports whether the contents are those of a stream's frame. Requests begin with an address.
func ofStream(contents []byte) bool {
	if len(contents) == 0 {
		return false
	}
	c := contents[0]
	return c == '<' || c == frame.StreamOpens || c == frame.StreamEnds
}

// takeStream processes a frame of a stream.
func (l *edgeLink) takeStream(f *frame.Frame) {
	handler, st := l.server.cfg.Streams, &l.server.stats
	if f.Contents[0] == frame.StreamOpens {
		l.openStream(f)
		return
	}
	s := l.streams[f.ID]
	switch {
	case f.Contents[0] == frame.StreamEnds:
		code, _, err := frame.ParseEnd(f.Contents)
		switch {
		case err != nil:
			l.end(faultGrammar)
		case s == nil:
			st.StaleStream++
		default:
			s.forget()
			handler.Ended(s, code)
		}
	case s == nil:
		st.StaleStream++
	case int(s.taken) >= l.server.cfg.WindowBytes:
		l.end(faultWindow)
	default:
		st.MessagesIn++
		s.taken += int32(len(f.Contents))
		handler.Message(s, f.Contents)
		l.acknowledge(s)
	}
}

func (l *edgeLink) openStream(f *frame.Frame) {
	o, err := frame.ParseOpen(f.Contents)
	if err != nil {
		l.end(faultGrammar)
		return
	}
	_, asks := l.live[f.ID]
	if asks || l.streams[f.ID] != nil {
		l.end(faultDuplicate)
		return
	}
	if l.streams == nil {
		l.streams = make(map[uint64]*Stream)
	}
	s := &Stream{link: l, id: f.ID, window: int32(l.hello.Window)}
	l.streams[f.ID] = s
	l.server.stats.Streams++
	l.server.stats.Opened++
	l.server.cfg.Streams.Opened(s, &o)
}

// acknowledge returns credit once half of the window has been used.
func (l *edgeLink) acknowledge(s *Stream) {
	processed := int(s.taken - s.deferred)
	if s.link == nil || processed < l.server.cfg.WindowBytes/2 {
		return
	}
	l.batch = frame.AppendCredit(l.batch, s.id, processed)
	s.taken = s.deferred
	l.server.stats.Credits++
	l.appended()
}

// takeCredit widens windows.
func (l *edgeLink) takeCredit(args []byte) {
	for n := 0; ; n++ {
		id, more, rest, ok, err := frame.NextCredit(args)
		if err != nil || !ok && n == 0 {
			l.end(faultGrammar)
			return
		}
		if !ok {
			return
		}
		args = rest
		s := l.streams[id]
		if s == nil {
			l.server.stats.StaleStream++
			continue
		}
		if s.window += int32(more); int(s.window) > l.hello.Window {
			l.end(faultGrammar) // it acknowledges more than was sent
			return
		}
		l.unblock(s)
	}
}

// unblock tells the handler if a stream is no longer full.
func (l *edgeLink) unblock(s *Stream) {
	if _, waits := l.blocked[s]; !waits || s.window <= 0 || l.Full() {
		return
	}
	delete(l.blocked, s)
	l.server.cfg.Streams.Room(s)
}

// unblockAll does so for all streams, because the link is no longer full.
func (l *edgeLink) unblockAll() {
	for s := range l.blocked {
		l.unblock(s)
	}
}

// endStreams ends all streams, because the link has ended.
func (l *edgeLink) endStreams() {
	for _, s := range l.streams {
		s.forget()
		l.server.cfg.Streams.Ended(s, codeLost)
	}
	l.streams, l.blocked = nil, nil
}
