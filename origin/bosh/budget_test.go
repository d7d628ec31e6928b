package bosh

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// TestSessionSize bounds the size of a session, which determines the memory of a million.
func TestSessionSize(t *testing.T) {
	if got := unsafe.Sizeof(Session{}); got > 480 { // a size class of the allocator
		t.Errorf("a session has %d bytes", got)
	}
}

// deaf is a link that drops its replies.
type deaf struct {
	prompt
	replies int
}

func (d *deaf) Reply(uint64, int, []byte) { d.replies++ }

// quiet is a service that only sends features.
type quiet struct{ sessions []*Session }

func (q *quiet) Open(s *Session, _ Open) Condition {
	q.sessions = append(q.sessions, s)
	s.Send([]byte(features))
	return ""
}
func (q *quiet) Restart(*Session)        {}
func (q *quiet) Stanza(*Session, []byte) {}
func (q *quiet) Closed(*Session)         {}

// creation opens a typical session.
const creation = "<body rid='1' to='a' ver='1.6' wait='60' hold='1' xmlns='" + bodyNamespace + "'/>"

// poller makes requests without allocating.
type poller struct {
	e   *Engine
	r   link.Replier
	id  uint64
	buf []byte
}

func (p *poller) poll(sid string, rid uint64) {
	p.buf = append(p.buf[:0], "<body rid='"...)
	p.buf = strconv.AppendUint(p.buf, rid, 10)
	p.buf = append(p.buf, "' sid='"...)
	p.buf = append(p.buf, sid...)
	p.buf = append(p.buf, "' xmlns='"+bodyNamespace+"'/>"...)
	p.id++
	p.e.Request(p.r, p.id, frame.Request{Body: p.buf})
}

// liveHeap returns the bytes of live objects.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryOfIdleSession measures the memory of a session with one held request, including the maps. It measures after
// the log-in, when the last two replies are kept as payloads of 200 bytes, and after two more requests with empty
// replies. The target for the latter is 700 bytes; the cap for both is 1500.
func TestMemoryOfIdleSession(t *testing.T) {
	const n = 30_000
	q := &quiet{sessions: make([]*Session, 0, n)}
	e := New(Config{}, q)
	e.Tick(1_000_000)
	r := &deaf{}
	sids := make([]string, 0, n)
	before := liveHeap() + n*32 // the sids belong to the test
	for i := range n {
		e.Request(r, uint64(i+1), frame.Request{Body: []byte(creation)})
		sids = append(sids, q.sessions[i].sessionID())
	}
	p := &poller{e: e, r: r, id: n}
	per := func() int64 { return (int64(liveHeap()) - int64(before)) / n }
	for rid := uint64(2); rid <= 3; rid++ {
		for i, sid := range sids {
			p.poll(sid, rid)
			q.sessions[i].Send(fmt.Appendf(nil, "<message xmlns='jabber:client'><body>%0150d</body></message>", i))
			e.Idle()
		}
	}
	for _, sid := range sids {
		p.poll(sid, 4)
	}
	busy := per()
	for rid := uint64(5); rid <= 8; rid++ {
		e.Tick(int64(1_000_000 + rid*20_000))
		for _, sid := range sids {
			p.poll(sid, rid)
		}
	}
	idle := per()
	if len(e.sessions) != n || r.replies != 7*n {
		t.Fatalf("%d sessions, %d replies", len(e.sessions), r.replies)
	}
	for _, s := range q.sessions {
		if s.oldestLive(false) != 0 {
			t.Fatal("a session does not hold a request")
		}
	}
	t.Logf("an idle session with a held request: %d bytes; with two kept replies of 200 bytes: %d", idle, busy)
	if idle > 700 || busy > 1500 {
		t.Errorf("an idle session takes %d bytes (at most 700), a recently busy one %d (at most 1500)", idle, busy)
	}
	runtime.KeepAlive(sids)
}

// TestPollDoesNotAllocate: an empty request, and the answer to the previous one.
func TestPollDoesNotAllocate(t *testing.T) {
	p, sid := newPoller()
	rid, now := uint64(1), int64(1_000_000)
	got := testing.AllocsPerRun(10_000, func() {
		rid++
		now += 3_000
		p.e.Tick(now)
		p.poll(sid, rid)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
	if n := p.r.(*deaf).replies; n != 10_001 { // the creation, and all but the last
		t.Errorf("%d replies", n)
	}
}

func newPoller() (p *poller, sid string) {
	q := &quiet{}
	e := New(Config{}, q)
	e.Tick(1_000_000)
	p = &poller{e: e, r: &deaf{}, id: 1}
	e.Request(p.r, 1, frame.Request{Body: []byte(creation)})
	return p, q.sessions[0].sessionID()
}

// BenchmarkPoll measures an empty request and the answer to the older one, for one session and for a hundred thousand.
func BenchmarkPoll(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			q := &quiet{}
			e := New(Config{}, q)
			e.Tick(1_000_000)
			p := &poller{e: e, r: &deaf{}}
			var sids []string
			for i := range n {
				p.id++
				e.Request(p.r, p.id, frame.Request{Body: []byte(creation)})
				sids = append(sids, q.sessions[i].sessionID())
			}
			rid, i, now := uint64(2), 0, int64(1_000_000)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				p.poll(sids[i], rid)
				if i++; i == n {
					i, now = 0, now+3_000
					rid++
					e.Tick(now)
				}
			}
			if e.stats.PolicyViolation+e.stats.ItemNotFound > 0 {
				b.Fatalf("%+v", e.stats)
			}
		})
	}
}

// BenchmarkMessage measures a message from one client to another: a request with a payload, and the reply that carries
// it.
func BenchmarkMessage(b *testing.B) {
	q := &quiet{}
	e := New(Config{}, q)
	e.Tick(1_000_000)
	p := &poller{e: e, r: &deaf{}}
	p.id = 2
	e.Request(p.r, 1, frame.Request{Body: []byte(creation)})
	e.Request(p.r, 2, frame.Request{Body: []byte(creation)})
	from, to := q.sessions[0], q.sessions[1]
	sid := to.sessionID()
	head := "' sid='" + from.sessionID() + "' xmlns='" + bodyNamespace + "'>"
	stanza := []byte("<message to='juliet@example.com' type='chat' id='17' xmlns='jabber:client'>" +
		"<body>wherefore art thou</body></message>")
	rid := uint64(1)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		rid++
		buf = append(strconv.AppendUint(append(buf[:0], "<body rid='"...), rid, 10), head...)
		buf = append(append(buf, stanza...), bodyClose...)
		p.id++
		e.Request(p.r, p.id, frame.Request{Body: buf})
		to.Send(stanza)
		p.poll(sid, rid)
	}
	if e.stats.PolicyViolation+e.stats.ItemNotFound > 0 || e.stats.Carried < int64(rid-2) {
		b.Fatalf("%+v", e.stats)
	}
}
