package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/record"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// TestEcho: crypto/tls talks to a reactor, in pieces of any size. Data of several records comes back in order.
func TestEcho(t *testing.T) {
	e := newEcho(t, Options{})
	for _, version := range versions {
		for _, size := range []int{1, 10, 1 << 20} {
			c := e.tls(t, version, &inPieces{e.dial(t), size})
			talk(t, c, "hello")
			talk(t, c, strings.Repeat("0123456789", 100))
			if size > 10 {
				talk(t, c, strings.Repeat("0123456789", 10_000))
			}
			if r := receive(t, e.results); r.Version != version || r.Resumed {
				t.Errorf("%+v", r)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if why := receive(t, e.closed); why != loop.CausePeer {
				t.Errorf("closed because of %v", why)
			}
		}
	}
	e.idle(t)
}

// idle checks that nothing is left of connections that have ended.
func (e *echo) idle(t *testing.T) {
	t.Helper()
	e.Do(func(*loop.Reactor, loop.Handler) {
		if e.t.UnderWay() != 0 || e.t.Waiting() != 0 {
			t.Errorf("%d under way, %d wait", e.t.UnderWay(), e.t.Waiting())
		}
		for c := range e.t.words {
			s := e.t.keys.at(uint32(c))
			if e.t.words[c]&^(inWaiting|inDelayed) != 0 || !bytes.Equal(s[:112], make([]byte, 112)) {
				t.Errorf("connection %d: word %x, keys %x", c, e.t.words[c], *s)
			}
		}
	})
}

// TestResumed: a client resumes in both versions.
func TestResumed(t *testing.T) {
	e := newEcho(t, Options{})
	for _, version := range versions {
		cache := tls.NewLRUClientSessionCache(4)
		for i := range 4 {
			c := tls.Client(e.dial(t), &tls.Config{InsecureSkipVerify: true, MaxVersion: version,
				ClientSessionCache: cache})
			talk(t, c, "hello")
			if r := receive(t, e.results); r.Resumed != (i > 0) {
				t.Errorf("%x: handshake %d: resumed %v", version, i, r.Resumed)
			}
			c.Close()
		}
	}
}

// TestTwoConnectionsAtOneLive: connections that share the only entry of the cache do not disturb each other.
func TestTwoConnectionsAtOneLive(t *testing.T) {
	e := newEcho(t, Options{Lives: 1})
	a, b := e.tls(t, tls.VersionTLS13, e.dial(t)), e.tls(t, tls.VersionTLS12, e.dial(t))
	for range 20 {
		talk(t, a, "one")
		talk(t, b, "two")
	}
}

// TestWaiting: one handshake may be under way. Half hellos do not count, others wait in their order and are not read.
func TestWaiting(t *testing.T) {
	const clients = 20
	e := newEcho(t, Options{Handshakes: 1})
	half := e.dial(t)
	if _, err := half.Write([]byte{22, 3, 1, 1, 0, 1}); err != nil {
		t.Fatal(err)
	}
	stalled := &stalling{Conn: e.dial(t), sent: make(chan struct{})}
	go func() { _ = e.tls(t, tls.VersionTLS13, stalled).Handshake() }()
	<-stalled.sent
	e.until(t, func() bool { return e.t.UnderWay() == 1 })
	var all sync.WaitGroup
	for range clients {
		c := e.tls(t, tls.VersionTLS13, e.dial(t))
		all.Go(func() { talk(t, c, "hello") })
	}
	e.until(t, func() bool { return e.t.Waiting() == clients })
	stalled.Conn.Close()
	all.Wait()
	e.until(t, func() bool { return e.t.Waiting() == 0 && e.t.UnderWay() == 0 })
	half.Close()
}

// until waits for a state of the reactor.
func (e *echo) until(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		ok := false
		e.Do(func(*loop.Reactor, loop.Handler) { ok = is() })
		if ok {
			return
		}
		if t.Failed() || time.Now().After(end) {
			t.Fatal("not reached")
		}
		time.Sleep(time.Millisecond)
	}
}

// stalling sends a hello, and nothing after it.
type stalling struct {
	net.Conn
	sent chan struct{}
	once sync.Once
}

func (c *stalling) Write(p []byte) (n int, err error) {
	n = len(p)
	c.once.Do(func() {
		n, err = c.Conn.Write(p)
		close(c.sent)
	})
	return n, err
}

// TestWaitingClientsThatLeave: places in the queue of clients that have gone are passed over, and are not kept twice.
func TestWaitingClientsThatLeave(t *testing.T) {
	e := newEcho(t, Options{Handshakes: 1})
	stalled := &stalling{Conn: e.dial(t), sent: make(chan struct{})}
	go func() { _ = e.tls(t, tls.VersionTLS13, stalled).Handshake() }()
	<-stalled.sent
	e.until(t, func() bool { return e.t.UnderWay() == 1 })
	for range 5 {
		for range 10 {
			waits := &stalling{Conn: e.dial(t), sent: make(chan struct{})}
			go func() { _ = e.tls(t, tls.VersionTLS13, waits).Handshake() }()
			<-waits.sent
		}
		e.until(t, func() bool { return e.t.Waiting() == 10 })
		e.Do(func(r *loop.Reactor, _ loop.Handler) {
			r.EachOpen(0, uint32(r.Capacity()), func(c uint32) {
				if e.t.stage(c) == stageWaiting {
					r.Close(c)
				}
			})
		})
		for range 10 {
			receive(t, e.closed)
		}
		e.Do(func(*loop.Reactor, loop.Handler) {
			if n := len(e.t.waiting.list) - e.t.waiting.head; e.t.Waiting() != 0 || n > len(e.t.words) {
				t.Errorf("%d wait, %d places", e.t.Waiting(), n)
			}
		})
	}
	c := e.tls(t, tls.VersionTLS13, e.dial(t))
	done := make(chan struct{})
	go func() { talk(t, c, "hello"); close(done) }()
	e.until(t, func() bool { return e.t.Waiting() == 1 })
	stalled.Conn.Close()
	receive(t, done)
}

// TestManyAtOnce: more handshakes come in one turn than its time is enough for. All are made, and clients that are
// connected are served meanwhile.
func TestManyAtOnce(t *testing.T) {
	e := newEcho(t, Options{Handshakes: 1000})
	before := e.tls(t, tls.VersionTLS13, e.dial(t))
	talk(t, before, "hello")
	var all sync.WaitGroup
	for range 200 {
		c := e.tls(t, tls.VersionTLS13, e.dial(t))
		all.Go(func() { talk(t, c, "hello") })
	}
	for range 20 {
		talk(t, before, "still here")
	}
	all.Wait()
	e.Do(func(*loop.Reactor, loop.Handler) {
		if e.t.UnderWay() != 0 || e.t.Waiting() != 0 {
			t.Errorf("%d under way, %d wait", e.t.UnderWay(), e.t.Waiting())
		}
	})
}

// TestStalledHandshakesGiveWay: clients that send a hello and nothing else do not keep a waiting one out. Without one
// that waits they may take their time.
func TestStalledHandshakesGiveWay(t *testing.T) {
	e := newEcho(t, Options{Handshakes: 2})
	for range 2 {
		stalled := &stalling{Conn: e.dial(t), sent: make(chan struct{})}
		go func() { _ = e.tls(t, tls.VersionTLS13, stalled).Handshake() }()
		<-stalled.sent
	}
	e.until(t, func() bool { return e.t.UnderWay() == 2 })
	for range 2 * leastAge {
		e.Advance(1)
	}
	if e.until(t, func() bool { return e.t.UnderWay() == 2 }); len(e.failed) > 0 {
		t.Errorf("failure %d although nobody waits", <-e.failed)
	}
	c, done := e.tls(t, tls.VersionTLS13, e.dial(t)), make(chan struct{})
	go func() { talk(t, c, "hello"); close(done) }()
	e.until(t, func() bool { return e.t.Waiting() == 1 })
	e.Advance(1)
	receive(t, done)
	if why := receive(t, e.failed); why != Crowded {
		t.Errorf("failure %d", why)
	}
	if e.until(t, func() bool { return e.t.UnderWay() == 1 }); len(e.failed) > 0 {
		t.Error("more handshakes ended than others waited")
	}
}

// TestNoStepIsFree: a client whose first step is cheap, because its hello comes in two records, has its expensive one
// within the time of a turn too.
func TestNoStepIsFree(t *testing.T) {
	e := newEcho(t, Options{})
	hello := &hellos{sent: make(chan []byte, 1)}
	go func() { _ = tls.Client(hello, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	first := receive(t, hello.sent)
	rest := append([]byte{typeHandshake, 3, 1, 0, 0}, first[headerBytes+4:]...)
	rest[3], rest[4] = byte((len(rest)-headerBytes)>>8), byte(len(rest)-headerBytes)
	for range 3 {
		_, _ = e.dial(t).Write(append([]byte{typeHandshake, 3, 1, 0, 4}, first[headerBytes:headerBytes+4]...))
	}
	e.until(t, func() bool { return e.t.UnderWay() == 3 })
	e.Do(func(*loop.Reactor, loop.Handler) {
		open := func(n int) loop.Opened { return e.t.Open(e.t.shaking[n].conn, bytes.Clone(rest)) }
		e.t.spent = turnBudget
		for n := range 3 {
			if o := open(n); !o.Wait || o.Used > 0 {
				t.Errorf("%d: a step without time: %+v", n, o)
			}
		}
		e.t.cost = turnBudget / 10
		e.t.Turn()
		e.t.spent = turnBudget
		if o := open(0); o.Wait || o.Used != len(rest) || len(o.Answer) == 0 {
			t.Errorf("no step in the next turn: %+v", o)
		}
		e.t.spentLate = turnBudget
		if o := open(1); !o.Wait {
			t.Errorf("a step without time of those that have waited: %+v", o)
		}
		e.t.Close(e.t.shaking[2].conn)
		e.t.cost = turnBudget
		e.t.Turn()
		if o := open(1); o.Wait || o.Used != len(rest) || e.t.delayed.count != 0 {
			t.Errorf("%+v, %d are delayed", o, e.t.delayed.count)
		}
	})
}

// hellos passes on what a client writes.
type hellos struct {
	net.Conn
	sent chan []byte
}

func (c *hellos) Write(p []byte) (int, error) {
	c.sent <- bytes.Clone(p)
	return len(p), nil
}

func (c *hellos) Read([]byte) (int, error) { return 0, io.EOF }

// TestFragmentedAtOnce: many hellos in two records each come at once, and all handshakes are made.
func TestFragmentedAtOnce(t *testing.T) {
	e := newEcho(t, Options{Handshakes: 1000})
	const clients = 100
	var begun, all sync.WaitGroup
	begun.Add(clients)
	for range clients {
		c := &fragmented{Conn: e.dial(t), begun: &begun}
		all.Go(func() { talk(t, e.tls(t, tls.VersionTLS13, c), "hello") })
	}
	all.Wait()
	e.until(t, func() bool { return e.t.UnderWay() == 0 && e.t.delayed.count == 0 })
}

// fragmented sends its hello in two records, the second when all others have begun.
type fragmented struct {
	net.Conn
	begun *sync.WaitGroup
	done  bool
}

func (c *fragmented) Write(p []byte) (int, error) {
	if c.done {
		return c.Conn.Write(p)
	}
	c.done = true
	_, err := c.Conn.Write(append([]byte{typeHandshake, 3, 1, 0, 4}, p[headerBytes:headerBytes+4]...))
	c.begun.Done()
	c.begun.Wait()
	rest := append([]byte{typeHandshake, 3, 1, 0, 0}, p[headerBytes+4:]...)
	rest[3], rest[4] = byte((len(rest)-headerBytes)>>8), byte(len(rest)-headerBytes)
	if err == nil {
		_, err = c.Conn.Write(rest)
	}
	return len(p), err
}

// TestFirstBytes: other bytes than a hello get an answer that its sender understands, before any worker is taken.
func TestFirstBytes(t *testing.T) {
	const answer = "HTTP/1.1 400 Bad Request\r\n\r\n"
	e := newEcho(t, Options{NotTLS: []byte(answer)})
	for _, test := range []struct {
		name, input, want string
		why               Failure
	}{
		{"HTTP", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", answer, PlainHTTP},
		{"one letter", "G", answer, PlainHTTP},
		{"SSL 2", "\x80\x2e\x01\x00\x02", string(alert(alertUnexpectedMessage)), NotTLS},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", string(alert(alertUnexpectedMessage)), NotTLS},
		{"data", "\x17\x03\x03\x00\x01a", string(alert(alertUnexpectedMessage)), NotTLS},
		{"another version", "\x16\x04\x00", string(alert(alertUnexpectedMessage)), NotTLS},
		{"an oversized record", "\x16\x03\x01\x40\x01", string(alert(alertRecordOverflow)), NotTLS},
		{"garbage in a record", "\x16\x03\x01\x00\x04\x01\x00\x00\x00", "", BadHandshake},
		{"text in a record", "\x16\x03\x01\x00\x05hello", "", BadHandshake},
	} {
		c := e.dial(t)
		if _, err := io.WriteString(c, test.input); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || test.want != "" && string(got) != test.want || test.want == "" && got[0] != typeAlert {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
		c.Close()
		if why := receive(t, e.failed); why != test.why {
			t.Errorf("%s: failure %d, want %d", test.name, why, test.why)
		}
		receive(t, e.closed)
	}
	e.idle(t)
}

// TestKindsOfFailures: kinds of failures that crypto/tls and record find.
func TestKindsOfFailures(t *testing.T) {
	e := newEcho(t, Options{})
	for _, test := range []struct {
		name   string
		config *tls.Config
		why    Failure
	}{
		{"an old version", &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
			MaxVersion: tls.VersionTLS11}, NoCommon},
		{"an old suite", &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, NoCommon},
		{"another protocol", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}, NoCommon},
		{"an unknown certificate", &tls.Config{ServerName: "example.org"}, ByPeer},
	} {
		c := tls.Client(e.dial(t), test.config)
		if err := c.Handshake(); err == nil {
			t.Errorf("%s: accepted", test.name)
		}
		c.Close()
		if why := receive(t, e.failed); why != test.why {
			t.Errorf("%s: failure %d, want %d", test.name, why, test.why)
		}
	}
	raw := e.dial(t)
	c := e.tls(t, tls.VersionTLS13, raw)
	talk(t, c, "hello")
	_, _ = raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
	var op *net.OpError
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &op) || op.Op != "remote error" {
		t.Errorf("%v, want an alert", err)
	}
	if why := receive(t, e.failed); why != BadRecord {
		t.Errorf("failure %d", why)
	}
}

// TestOwnerClosesAnother: an owner that closes another connection when one fails changes nothing in what the first one
// gets. A record on the wrong connection would end it, and give away what its sender never got.
func TestOwnerClosesAnother(t *testing.T) {
	e := newEcho(t, Options{})
	raw := e.dial(t)
	first, second := e.tls(t, tls.VersionTLS13, raw), e.tls(t, tls.VersionTLS13, e.dial(t))
	talk(t, first, "hello")
	talk(t, second, "hello")
	e.Do(func(r *loop.Reactor, _ loop.Handler) {
		e.lost = func(failed uint32) {
			r.EachOpen(0, uint32(r.Capacity()), func(c uint32) {
				if c != failed {
					r.CloseGracefully(c)
				}
			})
		}
	})
	_, _ = raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
	_, err := first.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: bad record MAC") {
		t.Errorf("%v, want an alert", err)
	}
	if _, err := second.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want close_notify", err)
	}
}

// TestCloseAnnounced: a graceful close sends close_notify behind the data.
func TestCloseAnnounced(t *testing.T) {
	e := newEcho(t, Options{})
	e.Do(func(*loop.Reactor, loop.Handler) {
		e.data = func(c uint32, p []byte) (int, int) {
			e.r.Write(c, p, []byte("!"))
			e.r.CloseGracefully(c)
			return len(p), 0
		}
	})
	for _, version := range versions {
		raw := &recorded{Conn: e.dial(t)}
		c := e.tls(t, version, raw)
		_, _ = io.WriteString(c, "bye")
		got, err := io.ReadAll(c)
		if err != nil || string(got) != "bye!" {
			t.Errorf("%q, %v", got, err)
		}
		if raw.eof {
			t.Error("the end of the stream was seen before close_notify")
		}
	}
}

// recorded notes whether the end of the stream was read.
type recorded struct {
	net.Conn
	eof bool
}

func (c *recorded) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.eof = c.eof || err == io.EOF
	return n, err
}

// TestNote: the note of a connection stays with it.
func TestNote(t *testing.T) {
	e := newEcho(t, Options{})
	c := e.tls(t, tls.VersionTLS13, e.dial(t))
	talk(t, c, "hello")
	e.Do(func(r *loop.Reactor, _ loop.Handler) {
		r.EachOpen(0, uint32(r.Capacity()), func(c uint32) {
			if e.t.Note(c) != 7 || e.t.Worn(c) {
				t.Errorf("note %d, worn %v", e.t.Note(c), e.t.Worn(c))
			}
		})
	})
}

// TestKeysAreOutsideTheHeap: the table is in no core dump, in no child, and cleared when it is released.
func TestKeysAreOutsideTheHeap(t *testing.T) {
	s, err := newSlots(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	if len(s) != 1000*record.StateBytes {
		t.Fatal(len(s))
	}
	flags := ""
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := addressOf(s)
	inside := false
	for line := range strings.Lines(string(smaps)) {
		from, to, isRange := rangeOf(line)
		if isRange {
			inside = from <= at && at < to
		}
		if text, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			flags = text
		}
	}
	if !strings.Contains(flags, " dd") || !strings.Contains(flags, " dc") {
		t.Errorf("flags %q, want dd (not dumped) and dc (not copied to children)", flags)
	}
}

func rangeOf(line string) (from, to uint64, ok bool) {
	head, _, _ := strings.Cut(line, " ")
	a, b, ok := strings.Cut(head, "-")
	if !ok {
		return 0, 0, false
	}
	from, err1 := strconv.ParseUint(a, 16, 64)
	to, err2 := strconv.ParseUint(b, 16, 64)
	return from, to, err1 == nil && err2 == nil
}

// TestRoundTripAllocatesNothing: neither Open nor Seal allocates for a connection that is warm.
func TestRoundTripAllocatesNothing(t *testing.T) {
	client, server := newPeers(t)
	text := []byte("a request of some bytes")
	var wire []byte
	buffer := make([]byte, 0, 4096)
	round := func() {
		wire = client.Seal(1, wire[:0], text, nil)
		if o := server.Open(1, wire); o.Plain != len(text) {
			t.Fatal(o)
		}
		buffer = server.Seal(1, buffer[:0], text, text)
		if o := client.Open(1, buffer); o.Plain != 2*len(text) {
			t.Fatal(o)
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// newPeers makes a client and a server without a reactor, whose connection 1 is open.
func newPeers(t testing.TB) (client, server *Transport) {
	t.Helper()
	config, err := handshake.NewServer(handshake.Server{Certificates: []tls.Certificate{pair()}})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := handshake.NewClient(handshake.Client{})
	if err != nil {
		t.Fatal(err)
	}
	server, err = New(nil, &echo{config: config, results: make(chan handshake.Result, 1)},
		Options{Connections: 10, Handshakes: 1, Lives: 1})
	if err != nil {
		t.Fatal(err)
	}
	client, err = New(nil, &echo{config: clients, results: make(chan handshake.Result, 1)},
		Options{Connections: 10, Handshakes: 1, Lives: 1, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Stop)
	t.Cleanup(server.Stop)
	server.Start(1)
	toServer := bytes.Clone(client.Start(1))
	for range 4 {
		client.spent, server.spent = 0, 0 // each in a turn of its own
		o := server.Open(1, toServer)
		toClient := bytes.Clone(o.Answer)
		if o.Used != len(toServer) || o.End != nil {
			t.Fatal(o)
		}
		o = client.Open(1, toClient)
		toServer = bytes.Clone(o.Answer)
		if o.Used != len(toClient) || o.End != nil {
			t.Fatal(o)
		}
		if len(toServer) == 0 {
			return client, server
		}
	}
	t.Fatal("no handshake")
	return nil, nil
}

func BenchmarkRoundTrip(b *testing.B) {
	client, server := newPeers(b)
	text := make([]byte, 300)
	var up, down []byte
	b.ReportAllocs()
	for b.Loop() {
		up = client.Seal(1, up[:0], text, nil)
		server.Open(1, up)
		down = server.Seal(1, down[:0], text, nil)
		client.Open(1, down)
	}
}

// TestClosedHandshakeMakesRoom: a connection that its owner closes in the handshake gives its worker to one that waits,
// at once and not when its client has gone.
func TestClosedHandshakeMakesRoom(t *testing.T) {
	e := newEcho(t, Options{Handshakes: 1})
	stalled := &stalling{Conn: e.dial(t), sent: make(chan struct{})}
	go func() { _ = e.tls(t, tls.VersionTLS13, stalled).Handshake() }()
	<-stalled.sent
	e.until(t, func() bool { return e.t.UnderWay() == 1 })
	c := e.tls(t, tls.VersionTLS13, e.dial(t))
	done := make(chan struct{})
	go func() { talk(t, c, "hello"); close(done) }()
	e.until(t, func() bool { return e.t.Waiting() == 1 })
	e.Do(func(r *loop.Reactor, _ loop.Handler) {
		r.EachOpen(0, uint32(r.Capacity()), func(c uint32) {
			if e.t.stage(c) == stageShaking {
				r.CloseGracefully(c)
			}
		})
	})
	receive(t, done)
}
