package bosh_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/origin/bosh"
	"megaphone/origin/link"
)

// mute is a service that sends nothing.
type mute struct{}

func (mute) Open(*bosh.Session, bosh.Open) bosh.Condition { return "" }
func (mute) Restart(*bosh.Session)                        {}
func (mute) Stanza(*bosh.Session, []byte)                 {}
func (mute) Closed(*bosh.Session)                         {}

// edge is the remote end of a link to an origin.
type edge struct {
	t    testing.TB
	conn net.Conn
	in   []byte
	out  []byte
}

func newEdge(t testing.TB, e *bosh.Engine) *edge {
	s, err := link.Listen(link.Config{Listen: "127.0.0.1:0"}, e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); cancel(); <-ended })
	d := &edge{t: t, conn: conn, in: make([]byte, 0, 1<<20)}
	h := frame.Hello{Version: 1, Name: "edge-1"}
	d.out = frame.Append(d.out, 0, frame.AppendHello(nil, &h))
	d.flush()
	d.replies(2, func(frame.Frame) {})
	return d
}

func (d *edge) flush() {
	if _, err := d.conn.Write(d.out); err != nil {
		d.t.Fatal(err)
	}
	d.out = d.out[:0]
}

// replies reads n frames.
func (d *edge) replies(n int, f func(frame.Frame)) {
	for start := 0; ; {
		for n > 0 {
			got, size, ok, err := frame.Parse(d.in[start:], 0)
			if err != nil {
				d.t.Fatal(err)
			}
			if !ok {
				break
			}
			f(got)
			start += size
			n--
		}
		d.in = d.in[:copy(d.in, d.in[start:])]
		if n == 0 {
			return
		}
		start = 0
		k, err := d.conn.Read(d.in[len(d.in):cap(d.in)])
		if err != nil && err != io.EOF || k == 0 {
			d.t.Fatal("the link has ended: ", err)
		}
		d.in = d.in[:len(d.in)+k]
	}
}

// BenchmarkOrigin measures the main work of an origin: an empty poll over a link and through the session manager, and
// the reply to the previous poll. cpu-ns/op includes the processor time of this benchmark's edge.
func BenchmarkOrigin(b *testing.B) {
	for _, sessions := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			d := newEdge(b, bosh.New(bosh.Config{}, mute{}))
			const wrapper = "xmlns='" + boshbody.Namespace + "'"
			id := uint64(0)
			sids := make([]string, 0, sessions)
			for range sessions {
				id++
				// hold='2' gives a window of three, in which polls this fast are no violation.
				d.out = frame.AppendRequest(d.out, id, frame.Request{
					Body: []byte("<body rid='1' to='a' ver='1.6' wait='60' hold='2' " + wrapper + "/>")})
				d.flush()
				d.replies(1, func(f frame.Frame) {
					_, rest, _ := strings.Cut(string(f.Contents), " sid='")
					sids = append(sids, rest[:32])
				})
			}
			tails := make([]string, sessions)
			for i, sid := range sids {
				tails[i] = "' sid='" + sid + "' " + wrapper + "/>"
			}
			var body []byte
			polls := func(rid uint64, from, to int) {
				for i := from; i < to; i++ {
					id++
					body = append(strconv.AppendUint(append(body[:0], "<body rid='"...), rid, 10), tails[i]...)
					d.out = frame.AppendRequest(d.out, id, frame.Request{Body: body})
				}
				d.flush()
			}
			const turn = 100
			rid, at := uint64(2), 0
			for ; at < sessions; at += turn { // one is held for each
				polls(rid, at, min(at+turn, sessions))
			}
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu()
			at = sessions
			for n := 0; n < b.N; {
				if at >= sessions {
					at = 0
					rid++
				}
				end := min(at+turn, sessions)
				polls(rid, at, end)
				d.replies(end-at, func(f frame.Frame) {
					if len(f.Contents) != len("<body "+wrapper+"/>") {
						b.Fatalf("%s", f.Contents)
					}
				})
				n += end - at
				at = end
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heard is a service that passes on what it receives.
type heard struct {
	mute
	stanzas chan string
	closed  chan struct{}
}

func (h heard) Stanza(_ *bosh.Session, stanza []byte) { h.stanzas <- string(stanza) }
func (h heard) Closed(*bosh.Session)                  { h.closed <- struct{}{} }

// TestLastWords: a client posts and leaves at once, so that one read brings its request and `gone`. The service
// receives the payload.
func TestLastWords(t *testing.T) {
	svc := heard{stanzas: make(chan string, 1), closed: make(chan struct{}, 1)}
	d := newEdge(t, bosh.New(bosh.Config{}, svc))
	d.out = frame.AppendRequest(d.out, 1, frame.Request{
		Body: []byte("<body rid='1' to='a' ver='1.6' wait='60' hold='1' xmlns='" + boshbody.Namespace + "'/>")})
	d.flush()
	var sid string
	d.replies(1, func(f frame.Frame) {
		_, rest, _ := strings.Cut(string(f.Contents), " sid='")
		sid, _, _ = strings.Cut(rest, "'")
	})
	const message = "<message xmlns='jabber:client' to='b'><body>bye</body></message>"
	body := fmt.Sprintf("<body rid='2' sid='%s' type='terminate' xmlns='%s'>%s</body>",
		sid, boshbody.Namespace, message)
	d.out = frame.AppendRequest(d.out, 2, frame.Request{Body: []byte(body)})
	d.out = frame.Append(d.out, 0, []byte("gone 0000000000000002\n"))
	d.flush()
	select {
	case <-svc.closed:
	case <-time.After(10 * time.Second):
		t.Fatal("the session has not ended")
	}
	if got := <-svc.stanzas; got != message {
		t.Errorf("the service heard %q", got)
	}
}

// TestRoomOfSixHundred: a stanza to everyone in a room arrives at the pace of the wire. Sessions behind a full link get
// their turns, and a request that comes meanwhile is answered as usual.
func TestRoomOfSixHundred(t *testing.T) {
	const (
		users        = 600
		stanzaBytes  = 250_000
		bytesASecond = 1.25e9
	)
	svc := &room{}
	d := newEdge(t, bosh.New(bosh.Config{}, svc))
	const wrapper = "xmlns='" + boshbody.Namespace + "'"
	id := uint64(0)
	var sids []string
	for range users {
		id++
		d.out = frame.AppendRequest(d.out, id, frame.Request{
			Body: []byte("<body rid='1' to='a' ver='1.6' wait='60' hold='1' " + wrapper + "/>")})
	}
	d.flush()
	d.replies(users, func(f frame.Frame) {
		_, rest, _ := strings.Cut(string(f.Contents), " sid='")
		sids = append(sids, rest[:32])
	})
	first := id + 1
	for i, sid := range sids {
		payload := ""
		if i == users-1 { // by then all others are held
			payload = "<message xmlns='jabber:client'><body>" + strings.Repeat("x", stanzaBytes) + "</body></message>"
		}
		id++
		d.out = frame.AppendRequest(d.out, id, frame.Request{
			Body: []byte("<body rid='2' sid='" + sid + "' " + wrapper + ">" + payload + "</body>")})
	}
	d.out = frame.AppendRequest(d.out, id+1, frame.Request{
		Body: []byte("<body rid='1' to='a' ver='1.6' wait='60' hold='1' " + wrapper + "/>")})
	go func(p []byte) { d.conn.Write(p) }(d.out)
	got := map[uint64]bool{}
	begun, read := time.Now(), 0
	d.in = make([]byte, 0, 4<<20)
	d.replies(users+1, func(f frame.Frame) {
		read += len(f.Contents)
		time.Sleep(time.Duration(float64(read)/bytesASecond*1e9) - time.Since(begun))
		if f.ID <= id && (got[f.ID] || f.ID < first || len(f.Contents) < stanzaBytes) {
			t.Errorf("%x, answered before: %v, got %d bytes", f.ID, got[f.ID], len(f.Contents))
		}
		got[f.ID] = true
	})
	if len(got) != users+1 {
		t.Errorf("%d requests have an answer, not %d", len(got), users+1)
	}
}

// room is a service that repeats each session's stanzas to all sessions.
type room struct {
	mute
	sessions []*bosh.Session
}

func (r *room) Open(s *bosh.Session, _ bosh.Open) bosh.Condition {
	r.sessions = append(r.sessions, s)
	return ""
}

func (r *room) Stanza(_ *bosh.Session, stanza []byte) {
	for _, s := range r.sessions {
		s.Send(stanza)
	}
}
