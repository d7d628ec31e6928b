package link

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"megaphone/codec/frame"
)

// streams is a StreamHandler that records its calls in the handler of the same rig.
type streams struct {
	*handler
	onOpened  func(s *Stream)
	onMessage func(s *Stream, p string)
	onRoom    func(s *Stream)
	last      *Stream
}

func (h *streams) Opened(s *Stream, o *frame.Open) {
	h.last = s
	h.note("opened %x %s %s %s %s", s.id, o.Address, o.Host, o.Path, o.Origin)
	if h.onOpened != nil {
		h.onOpened(s)
	}
}
func (h *streams) Message(s *Stream, p []byte) {
	h.note("message %x %.20s", s.id, p)
	if h.onMessage != nil {
		h.onMessage(s, string(p))
	}
}
func (h *streams) Room(s *Stream) {
	h.note("room %x", s.id)
	if h.onRoom != nil {
		h.onRoom(s)
	}
}
func (h *streams) Ended(s *Stream, code int) { h.note("ended %x %d", s.id, code) }

// newStreamRig returns a rig whose server takes streams.
func newStreamRig(t *testing.T, cfg Config) (*rig, *streams) {
	h := &streams{onOpened: (*Stream).Accept}
	cfg.Streams = h
	h.handler = &handler{} // until the rig has one
	r := newRig(t, cfg)
	r.s.Do(func() { h.handler = r.h })
	return r, h
}

// openWithStreams connects an edge that takes streams with the given window.
func (r *rig) openWithStreams(window int) *edge {
	r.t.Helper()
	e := r.dial()
	h := frame.Hello{Version: 1, Name: "edge-1", Nonce: [16]byte{1}, Streams: true, Window: window}
	e.control(string(frame.AppendHello(nil, &h)))
	e.wantControl("welcome\n")
	return e
}

func (e *edge) frame(id uint64, contents string) {
	e.t.Helper()
	e.write(frame.Append(nil, id, []byte(contents)))
}

func (e *edge) wantFrame(id uint64, contents string) {
	e.t.Helper()
	if f, ok := e.read(); !ok || f.ID != id || string(f.Contents) != contents {
		e.t.Fatalf("got %x %.100q (%v), want %x %.100q", f.ID, f.Contents, ok, id, contents)
	}
}

func TestStreamLife(t *testing.T) {
	r, h := newStreamRig(t, Config{})
	h.onMessage = func(s *Stream, p string) {
		s.Send([]byte(p))
		if p == "<bye/>" {
			s.End(1000, "good bye")
			s.Send([]byte("<lost/>"))
			s.End(1011, "")
		}
	}
	e := r.openWithStreams(0)
	if !e.hello.Streams || e.hello.Window != frame.DefaultWindowBytes {
		t.Fatalf("%+v", e.hello)
	}
	e.frame(1, "+192.0.2.7 ws host=a.test path=/ws?x=y origin=https://b.test")
	e.wantFrame(1, "+")
	e.frame(2, "+::1 ws")
	e.wantFrame(2, "+")
	e.frame(1, "<a/>")
	e.wantFrame(1, "<a/>")
	e.frame(2, "<bye/>")
	e.wantFrame(2, "<bye/>")
	e.wantFrame(2, "-1000 good bye")
	e.frame(2, "<late/>")
	e.frame(2, "-1000")
	e.control("credit 0000000000000002 7\n")
	e.frame(1, "-1005")
	e.frame(1, "<late/>")
	e.request(1, "<body/>") // the id is free
	r.wantTold("opened 1 192.0.2.7 a.test /ws?x=y https://b.test", "opened 2 ::1   ", "message 1 <a/>",
		"message 2 <bye/>", "ended 1 1005", "request 1 192.0.2.7 <body/>")
	if st := r.stats(); st.Streams != 0 || st.Opened != 2 || st.MessagesIn != 2 || st.MessagesOut != 2 ||
		st.StaleStream != 4 {
		t.Errorf("%+v", st)
	}
}

// A refused stream needs no acceptance, and a lost link ends the others.
func TestStreamsRefusedAndLost(t *testing.T) {
	r, h := newStreamRig(t, Config{})
	h.onOpened = func(s *Stream) {
		if s.id == 1 {
			s.End(1013, "")
		} else {
			s.Accept()
		}
	}
	e := r.openWithStreams(0)
	e.frame(1, "+::1 ws")
	e.wantFrame(1, "-1013")
	e.frame(2, "+::1 ws")
	e.wantFrame(2, "+")
	e.conn.Close()
	r.wantTold("opened 1 ::1   ", "opened 2 ::1   ", "closed edge-1", "ended 2 1006")
	if st := r.stats(); st.Streams != 0 {
		t.Errorf("%+v", st)
	}
}

// Credit is returned when half of the window has been processed, and not for less.
func TestStreamCreditsGoOut(t *testing.T) {
	r, _ := newStreamRig(t, Config{WindowBytes: 1024})
	e := r.openWithStreams(0)
	e.frame(1, "+::1 ws")
	e.wantFrame(1, "+")
	for n := range 10 {
		e.frame(1, fmt.Sprintf("<%s/>", strings.Repeat("x", 125)))
		if n%4 == 3 {
			e.wantFrame(0, "credit 0000000000000001 512\n")
		}
	}
	if st := r.stats(); st.Credits != 2 {
		t.Errorf("%+v", st)
	}
}

// A handler that respects Full has less than a window and a message outstanding, and is told when it may continue.
func TestStreamWindow(t *testing.T) {
	r, h := newStreamRig(t, Config{})
	left := 10
	message := []byte("<" + strings.Repeat("x", 97) + "/>") // 100 bytes
	send := func(s *Stream) {
		for ; left > 0 && !s.Full(); left-- {
			s.Send(message)
		}
	}
	h.onMessage = func(s *Stream, _ string) { send(s) }
	h.onRoom = send
	e := r.openWithStreams(250)
	e.frame(1, "+::1 ws")
	e.wantFrame(1, "+")
	e.frame(1, "<go/>")
	for range 3 { // 250, 150, 50, -50
		e.wantFrame(1, string(message))
	}
	e.control("credit 0000000000000001 50\n") // still none
	e.control("ping a\n")
	e.wantControl("pong a\n")
	e.control("credit 0000000000000001 1\n")
	e.wantFrame(1, string(message)) // one more: 1, -99
	e.control("ping b\n")
	e.wantControl("pong b\n")
	e.control("credit 0000000000000001 349\n") // all of it
	for range 3 {
		e.wantFrame(1, string(message))
	}
	e.control("credit 0000000000000001 301\n") // more than was sent
	e.wantEnd(faultGrammar)
}

// A message that the edge cannot take ends its stream, and no other.
func TestStreamMessageTooLarge(t *testing.T) {
	r, h := newStreamRig(t, Config{})
	h.onMessage = func(s *Stream, _ string) { s.Send([]byte("<" + strings.Repeat("x", 300) + "/>")) }
	e := r.dial()
	hello := frame.Hello{Version: 1, Name: "edge-1", Max: 256, Streams: true}
	e.control(string(frame.AppendHello(nil, &hello)))
	e.wantControl("welcome\n")
	e.frame(1, "+::1 ws")
	e.wantFrame(1, "+")
	e.frame(1, "<a/>")
	e.wantFrame(1, "-1009")
	r.wantTold("opened 1 ::1   ", "message 1 <a/>", "ended 1 1009")
}

// Broken frames of streams end the link.
func TestStreamFramesThatBreakTheProtocol(t *testing.T) {
	for name, c := range map[string]struct {
		contents string
		want     fault
	}{
		"open without a kind": {"+::1", faultGrammar},
		"another kind":        {"+::1 tcp", faultGrammar},
		"opened twice":        {"+::1 ws", faultDuplicate},
		"an end of no code":   {"-bye", faultGrammar},
		"neither":             {"?", faultGrammar},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newStreamRig(t, Config{})
			e := r.openWithStreams(0)
			e.frame(1, "+::1 ws")
			e.wantFrame(1, "+")
			e.frame(1, c.contents)
			e.wantEnd(c.want)
		})
	}
	t.Run("a stream with the id of a request", func(t *testing.T) {
		r, _ := newStreamRig(t, Config{})
		e := r.openWithStreams(0)
		e.request(1, "<body/>")
		e.frame(1, "+::1 ws")
		e.wantEnd(faultDuplicate)
	})
	t.Run("credit of nothing", func(t *testing.T) {
		r, _ := newStreamRig(t, Config{})
		e := r.openWithStreams(0)
		e.control("credit 7\n")
		e.wantEnd(faultGrammar)
	})
}

// Without a handler, or for an edge that takes none, everything is as before there were streams.
func TestStreamsNotAnnounced(t *testing.T) {
	plain := newRig(t, Config{})
	e := plain.openWithStreams(0)
	if e.hello.Streams || e.hello.Window != 0 {
		t.Errorf("%+v", e.hello)
	}
	e.control("credit 7\n") // an unknown verb
	e.frame(1, "+::1 ws")
	e.wantEnd(faultGrammar)

	r, _ := newStreamRig(t, Config{})
	old := r.open()
	old.frame(1, "<body/>") // the plain form of a request
	r.wantTold("request 1  <body/>")
	old.frame(2, "+::1 ws")
	old.wantEnd(faultGrammar)
}

// doc.go has the size.
func TestStreamSize(t *testing.T) {
	if n := unsafe.Sizeof(Stream{}); n != 48 {
		t.Errorf("a Stream takes %d bytes", n)
	}
}

func TestStreamMessageOfTextPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("sent")
		}
	}()
	(&Stream{link: &edgeLink{}}).Send([]byte("hello"))
}

// The queue of a handler that defers is bounded by the window, which the edge must respect.
func TestStreamBeyondTheWindow(t *testing.T) {
	r, h := newStreamRig(t, Config{WindowBytes: 1024})
	h.onMessage = func(s *Stream, p string) { s.Defer(len(p)) }
	message := "<" + strings.Repeat("x", 509) + "/>" // half a window
	e := r.openWithStreams(0)
	e.frame(1, "+::1 ws")
	e.wantFrame(1, "+")
	for range 2 {
		e.frame(1, message)
	}
	e.control("ping a\n")
	e.wantControl("pong a\n") // nothing is acknowledged
	r.s.Do(func() { h.last.Acknowledge(511) })
	r.s.Do(func() { h.last.Acknowledge(1) })
	e.wantControl("credit 0000000000000001 512\n")
	e.frame(1, "<"+strings.Repeat("x", 2000)+"/>") // a message of any length may be the last
	e.control("ping b\n")
	e.wantControl("pong b\n")
	e.frame(1, "<beyond/>")
	e.wantEnd(faultWindow)
	told := []string{"opened 1 ::1   "}
	for range 3 {
		told = append(told, "message 1 <"+strings.Repeat("x", 19))
	}
	r.wantTold(append(told, "closed edge-1", "ended 1 1006")...)
}
