//go:build sim

package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// session is a BOSH session at its origin: requests in the order of their rids, one held at a time, replies kept for
// repeated requests.
type session struct {
	o      *origin
	sid    string
	client int
	first  uint64 // the rid of its creation
	next   uint64 // the rid that is due
	held   *request
	early  map[uint64]*early // requests whose turn has not come
	cache  map[uint64]string // replies by rid
	out    []int             // messages to the client that no reply has taken
	sent   int               // messages to the client so far
	got    int               // messages of the client so far
	ended  bool
	heard  time.Duration
}

type early struct {
	r *request
	b body
}

// keptReplies is how many replies a session keeps.
const keptReplies = 6

// inactivity is the time after which a session without a request ends.
const inactivity = 5 * time.Minute

func (s *session) touch() { s.heard = s.o.w.k.Now() }

// take takes a request.
func (s *session) take(r *request, b *body) {
	w := s.o.w
	s.touch()
	switch {
	case b.client != s.client:
		w.fail("session %s of client %d got a request of client %d", s.sid, s.client, b.client)
	case r.rid == s.next:
		s.process(r, b)
		for e := s.early[s.next]; e != nil; e = s.early[s.next] {
			delete(s.early, s.next)
			s.process(e.r, &e.b)
		}
	case r.rid > s.next+2:
		w.fail("session %s is at rid %d and got %d", s.sid, s.next, r.rid)
	case r.rid > s.next:
		if was := s.early[r.rid]; was != nil {
			was.r.reply(503, "") // of two links, the later frame need not be the later request
		}
		s.early[r.rid] = &early{r, *b}
	case s.held != nil && s.held.rid == r.rid:
		was := s.held
		s.held = r
		was.reply(503, "")
		s.expire(r)
	default:
		s.again(r)
	}
}

// again answers a repeated request.
func (s *session) again(r *request) {
	if reply, kept := s.cache[r.rid]; kept {
		r.reply(200, reply)
		return
	}
	if s.next-r.rid == 1 && s.held == nil { // it was held when its client left
		s.held = r
		s.expire(r)
		s.answer(false)
		return
	}
	if s.next-r.rid <= 2 {
		s.o.w.fail("session %s at rid %d got %d once more, and has no reply", s.sid, s.next, r.rid)
	}
	r.reply(200, "<body twice='1'/>") // it was long on its way on a connection that the client has given up
}

// process takes a request in its turn.
func (s *session) process(r *request, b *body) {
	w := s.o.w
	for _, m := range b.messages {
		if m != s.got {
			w.fail("session %s got message %d of its client instead of %d", s.sid, m, s.got)
		}
		s.got++
		w.result.Messages++
	}
	s.next++
	delete(s.cache, s.next-keptReplies)
	if s.held != nil {
		s.answer(true)
	} else if _, answered := s.cache[r.rid-1]; !answered && r.rid-1 > s.first {
		// The one before was held when its client left. It gets what there is when it comes again.
		s.cache[r.rid-1] = s.compose(r.rid - 1)
	}
	if b.terminate {
		r.reply(200, terminate(""))
		s.held, s.ended = nil, true
		delete(s.o.sessions, s.sid)
		return
	}
	if r.gone {
		return
	}
	s.held = r
	s.expire(r)
	s.answer(false)
}

// expire answers a held request when its wait ends.
func (s *session) expire(r *request) {
	s.o.w.k.After(s.o.w.wait, func() {
		if s.held == r && !s.ended {
			s.answer(true)
		}
	})
}

// compose makes the reply to a rid, from all that waits for the client.
func (s *session) compose(rid uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<body rid='%d' client='%d' session='%s' got='%d' %s>", rid, s.client, s.sid, s.got, xmlns)
	for _, m := range s.out {
		fmt.Fprintf(&b, "<m n='%d'/>", m)
	}
	if s.o.w.k.Chance(s.o.w.big) {
		b.WriteString("<p>" + strings.Repeat("x", s.o.w.k.Rand.IntN(150_000)) + "</p>")
	}
	b.WriteString("</body>")
	s.out = nil
	return b.String()
}

// answer answers the held request if there is anything to say, or anyway.
func (s *session) answer(anyway bool) {
	if s.held == nil || len(s.out) == 0 && !anyway {
		return
	}
	r := s.held
	s.held = nil
	s.cache[r.rid] = s.compose(r.rid)
	r.reply(200, s.cache[r.rid])
}

// lose forgets a request that is gone. It counts as received.
func (s *session) lose(r *request) {
	if s.held == r {
		s.held = nil
	}
	r.gone = true // an early one takes effect in its turn
}

// chat sends the client a message now and then.
func (s *session) chat() {
	w := s.o.w
	if s.ended || w.closing {
		return
	}
	if w.k.Now()-s.heard > inactivity && s.held == nil && len(s.early) == 0 {
		delete(s.o.sessions, s.sid)
		s.ended = true
		return
	}
	w.k.After(w.k.Upto(2*w.think), s.chat)
	if w.quiet || w.k.Now() < s.o.stalled {
		return
	}
	s.out = append(s.out, s.sent)
	s.sent++
	w.result.Messages++
	s.answer(false)
}

// body is a parsed <body> of the model's own making.
type body struct {
	rid       uint64
	sid       string // of a request
	session   string // of a reply
	client    int
	got       int
	messages  []int
	terminate bool
	condition string
	all       string
}

// parseBody parses what clients and origins of the model write. Other bytes are a failure.
func parseBody(w *world, text string) (b body) {
	b.all, b.client = text, -1
	head, rest, ok := strings.Cut(text, ">")
	if !ok || !strings.HasPrefix(head, "<body ") {
		w.fail("a body of other bytes: %.80q", text)
	}
	for _, attribute := range strings.Fields(strings.TrimSuffix(head[len("<body "):], "/")) {
		name, value, _ := strings.Cut(attribute, "=")
		value = strings.Trim(value, "'")
		switch name {
		case "rid":
			b.rid, _ = strconv.ParseUint(value, 10, 64)
		case "sid":
			b.sid = value
		case "session":
			b.session = value
		case "client":
			b.client, _ = strconv.Atoi(value)
		case "got":
			b.got, _ = strconv.Atoi(value)
		case "type":
			b.terminate = value == "terminate"
		case "condition":
			b.condition = value
		case "poison":
			w.fail("a client got the reply to an ID that was not live")
		case "twice":
			w.fail("a client got the reply to a request that it has sent again elsewhere")
		}
	}
	for {
		_, after, found := strings.Cut(rest, " n='")
		if !found {
			break
		}
		n, more, _ := strings.Cut(after, "'")
		m, err := strconv.Atoi(n)
		if err != nil {
			w.fail("a body of other bytes: %.80q", text)
		}
		b.messages, rest = append(b.messages, m), more
	}
	if strings.HasSuffix(head, "/") == strings.HasSuffix(text, "</body>") {
		w.fail("a body that is not whole: %.80q...%.20q", text, text[max(0, len(text)-20):])
	}
	return b
}
