package load

import (
	"log/slog"
	"testing"
	"time"

	"megaphone/codec/ws"
	"megaphone/loop"
)

// TestStreamAllocatesNothing has a session with stream management send and receive messages, answer pings and give and
// take acknowledgements, at full speed.
func TestStreamAllocatesNothing(t *testing.T) {
	f := newStreamFake(t)
	r := launchStreams(t, f)
	f.mu.Lock() // the fake, whose work would count, waits
	defer f.mu.Unlock()
	r.group.Do(func(_ *loop.Reactor, h loop.Handler) { streamsAllocateNothing(t, h.(*streaming)) })
}

// launchStreams starts a worker with two sessions at a fake, which are up. Nothing supervises them.
func launchStreams(t *testing.T, f *streamFake) *run {
	t.Helper()
	cfg := Config{Target: f.url(), Sessions: 2, Login: LoginPlain, Domain: "d", Reactors: 1,
		Log: slog.New(slog.DiscardHandler)}
	to, err := resolveTarget(t.Context(), cfg.Target, false)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{cfg: cfg.WithDefaults(), target: to}
	if err := r.launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.group.Stop)
	r.each(func(w *worker) {
		w.transport.begin(0)
		w.transport.begin(1)
	})
	until(t, "the sessions are up", func() (up bool) {
		r.each(func(w *worker) { up = w.counters[cUpNow] == 2 })
		return up
	})
	return r
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it does not come: ", what)
		}
	}
}

func streamsAllocateNothing(t *testing.T, w *streaming) {
	from, to := uint32(0), uint32(1)
	if w.sessions[from].partner != to {
		t.Fatal("two sessions are no pair")
	}
	frame := func(o ws.Opcode, text string) []byte { return append(ws.AppendHeader(nil, o, len(text)), text...) }
	message := func(seq uint32) []byte {
		return w.write.appendTo(nil, []byte("a@b/c"), message{kind: kindChat, author: from, reader: to, seq: seq,
			stamp: w.now()})
	}
	first := w.sessions[from].sent + 1
	const rounds = 100
	var messages [rounds + 2][]byte
	for k := range messages {
		messages[k] = frame(ws.Text, string(message(first+uint32(k))))
	}
	ask, ping := frame(ws.Text, "<r xmlns='urn:xmpp:sm:3'/>"), frame(ws.Ping, "hello")
	acknowledgement := frame(ws.Text, "<a xmlns='urn:xmpp:sm:3' h='0000000'/>")
	digits := acknowledgement[len(acknowledgement)-len("0000000'/>"):]
	in := make([]byte, 0, 1024)
	take := func(i uint32, p []byte) {
		in = append(in[:0], p...) // Next writes into its input
		if n, _ := w.Data(w.streams[i].conn, in); n != len(p) {
			t.Errorf("consumed %d of %d", n, len(p))
		}
	}
	k := 0
	if n := testing.AllocsPerRun(rounds, func() {
		s := &w.sessions[from]
		s.sent++
		w.counters[cSent]++
		w.ask(from, kindMessage, s.sent, w.now())
		take(to, messages[k])
		take(to, ask)
		take(to, ping)
		for at, h := 6, s.rid; at >= 0; at, h = at-1, h/10 {
			digits[at] = byte('0' + h%10)
		}
		take(from, acknowledgement)
		k++
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
	c := &w.counters
	if c[cDelivered] != rounds+1 || c[cPings] != rounds+1 || c[cMalformed]+c[cLost]+c[cDuplicated] != 0 ||
		w.sessions[from].open() != 0 {
		t.Errorf("%d delivered, %d pings, %d malformed, %d lost, session %+v", c[cDelivered], c[cPings], c[cMalformed],
			c[cLost], w.sessions[from])
	}
}
