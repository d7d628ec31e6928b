//go:build sim

package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"megaphone/codec/frame"
)

// stream is a WebSocket at its origin. Each end counts its messages from 0. Messages may be lost with a
// stream, because both ends learn that it has ended.
type stream struct {
	link   *originLink
	id     uint64
	client int
	sent   int // messages to the client
	got    int // messages of the client
	ended  bool

	owed, last int // bytes of the client's messages that are not acknowledged, and of the last one
	out        int // bytes to the client that the edge has not acknowledged
	queued     int // messages to the client that wait for the window
}

// window is what the model's origins have towards a client.
const window = 3000

// streamFrame takes a frame of a stream, and reports whether it is one.
func (l *originLink) streamFrame(id uint64, p []byte) bool {
	w := l.o.w
	if len(p) == 0 || !bytes.ContainsRune([]byte("+<-"), rune(p[0])) {
		return false
	}
	w.k.Trace("stream", l.o.id, int(uint32(id)), len(p), string(p[:1]))
	s := l.streams[id]
	switch {
	case p[0] == '+':
		if s != nil || l.live[id] != nil {
			w.fail("an edge used the live ID %x", id)
		}
		o, err := frame.ParseOpen(p)
		if err != nil {
			w.fail("an edge sent a bad opening: %q", p)
		}
		l.open(id, &o)
	case s == nil:
		if p[0] == '<' && !l.endedStreams[id] {
			w.fail("an edge sent a message on %x, which is not live", id)
		}
	case p[0] == '-':
		if _, _, err := frame.ParseEnd(p); err != nil {
			w.fail("an edge sent a bad end: %q", p)
		}
		l.endStream(s)
	default:
		s.take(p)
	}
	return true
}

func (l *originLink) open(id uint64, o *frame.Open) {
	w := l.o.w
	query := string(o.Path)
	_, number, _ := strings.Cut(query, "client=")
	client, err := strconv.Atoi(number)
	if err != nil {
		client = -1 // a pest
	}
	if client >= 0 && string(o.Address) != address(4, client+1).String() {
		w.fail("an edge named %s as the address of streamer %d", o.Address, client)
	}
	s := &stream{link: l, id: id, client: client}
	l.streams[id] = s
	w.k.After(w.slowness(), func() {
		switch {
		case s.ended || l.dead:
		case w.k.Chance(w.refusal) && !w.quiet:
			l.out = frame.AppendEnd(l.out, id, 1013, "no")
			l.endStream(s)
			l.wake()
		default:
			w.result.Streams++
			l.out = frame.Append(l.out, id, []byte("+"))
			l.wake()
			s.chat()
		}
	})
}

func (l *originLink) endStream(s *stream) {
	s.ended = true
	delete(l.streams, s.id)
	l.endedStreams[s.id] = true
}

// take takes a message of the client.
func (s *stream) take(p []byte) {
	w := s.link.o.w
	client, n := parseMessage(w, string(p))
	if client != s.client || n != s.got {
		w.fail("stream %x of client %d got message %d of client %d instead of %d", s.id, s.client, n, client, s.got)
	}
	s.got++
	w.result.Messages++
	if s.owed >= window {
		w.fail("an edge sent %d bytes beyond the window of stream %x", s.owed-window+len(p), s.id)
	}
	s.owed, s.last = s.owed+len(p), len(p)
	w.k.After(w.k.Upto(2*w.originLatency), func() {
		if s.ended || s.link.dead {
			return
		}
		s.owed -= len(p)
		s.link.out = append(s.link.out, frame.AppendCredit(nil, s.id, len(p))...)
		s.link.wake()
	})
}

// chat sends the client a message now and then, and sometimes the end.
func (s *stream) chat() {
	l := s.link
	w := l.o.w
	if s.ended || l.dead || w.closing {
		return
	}
	w.k.After(w.k.Upto(2*w.think), s.chat)
	if w.quiet || w.k.Now() < l.o.stalled {
		return
	}
	if w.k.Chance(w.hangs) {
		l.out = frame.AppendEnd(l.out, s.id, 1000, "enough")
		l.endStream(s)
		l.wake()
		return
	}
	s.queued++
	s.send()
}

// send sends what waits, within the edge's window.
func (s *stream) send() {
	w := s.link.o.w
	for ; s.queued > 0 && s.out < frame.DefaultWindowBytes; s.queued-- {
		p := message(w, s.client, s.sent)
		s.sent++
		s.out += len(p)
		s.link.out = frame.Append(s.link.out, s.id, []byte(p))
		s.link.wake()
	}
}

// credit takes an edge's acknowledgements.
func (l *originLink) credit(args string) {
	w := l.o.w
	words := strings.Fields(args)
	for i := 0; i+1 < len(words); i += 2 {
		id, err := strconv.ParseUint(words[i], 16, 64)
		n, err2 := strconv.Atoi(words[i+1])
		if err != nil || err2 != nil || len(words)%2 == 1 {
			w.fail("an edge sent %q", "credit "+args)
		}
		if s := l.streams[id]; s != nil {
			if s.out -= n; s.out < 0 {
				w.fail("an edge acknowledged %d bytes more than it got on stream %x", -s.out, id)
			}
			s.send()
		}
	}
}

func message(w *world, client, n int) string {
	text := fmt.Sprintf("<m client='%d' n='%d'/>", client, n)
	if w.k.Chance(w.big) {
		text += strings.Repeat("z", w.k.Rand.IntN(20_000))
	}
	return text
}

func parseMessage(w *world, text string) (client, n int) {
	if c, err := fmt.Sscanf(text, "<m client='%d' n='%d'/>", &client, &n); c != 2 {
		w.fail("a message of other bytes: %.80q: %v", text, err)
	}
	if _, rest, _ := strings.Cut(text, "/>"); strings.Trim(rest, "z") != "" {
		w.fail("a message with other bytes: %.80q", text)
	}
	return client, n
}

// streamer is a model of a client that speaks WebSocket. It connects again when its stream has ended.
type streamer struct {
	w    *world
	id   int
	at   *wire
	gone bool
}

func newStreamer(w *world, i int) *streamer { return &streamer{w: w, id: i} }

func (c *streamer) start() {
	if c.gone || c.w.closing || c.at != nil {
		return
	}
	c.at = newWire(c)
}

// ended lets the client come again.
func (c *streamer) ended(t *wire) {
	t.dead = true
	t.end.Close()
	if c.at == t {
		c.at = nil
		c.w.k.After(500*time.Millisecond+c.w.k.Upto(3*time.Second), c.start)
	}
}

func (c *streamer) leave() {
	c.gone = true
	if c.at != nil {
		c.at.leave()
	}
}

// complaint returns what a client misses in a world without faults, or "".
func (c *streamer) complaint() string {
	t := c.at
	if t == nil || !t.open {
		return "no stream"
	}
	s := c.w.streamOf(c.id)
	switch {
	case s == nil:
		return "its stream has ended, which it does not know"
	case s.got != t.sent || len(t.out) > 0:
		return fmt.Sprintf("%d of its %d messages have arrived", s.got, t.sent)
	case s.sent != t.got || s.queued > 0:
		return fmt.Sprintf("it got %d of %d messages", t.got, s.sent)
	}
	return ""
}

// streamOf returns the live stream of a client that its origin has, if there is exactly one.
func (w *world) streamOf(client int) (found *stream) {
	for _, o := range w.origins {
		for _, l := range o.links {
			for _, s := range l.streams {
				if s.client == client {
					if found != nil {
						return nil // an earlier one whose end is still on its way
					}
					found = s
				}
			}
		}
	}
	return found
}
