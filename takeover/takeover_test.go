package takeover

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"megaphone/loop"
)

// offering serves a listener with the given number of sockets; fail makes it fail.
func offering(t *testing.T, sockets int, patience time.Duration, fail error) (path string, s *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	s, err := Listen(path, patience, slog.New(slog.DiscardHandler), func() (Offer, error) {
		o := Offer{Links: 4, Up: 3, Tickets: [][]byte{[]byte("key")},
			Listeners: []loop.Listener{{Address: "one"}, {Address: "two"}}}
		for i := range o.Listeners {
			for range sockets {
				f, err := os.Open(os.DevNull)
				if err != nil {
					t.Error(err)
				}
				o.Listeners[i].Files = append(o.Listeners[i].Files, f)
			}
		}
		return o, fail
	})
	if err != nil {
		t.Fatal(err)
	}
	return path, s
}

func receiveSuccessor(t *testing.T, s *Server) *Successor {
	t.Helper()
	select {
	case next := <-s.Found():
		return next
	case <-time.After(10 * time.Second):
		t.Fatal("no successor")
		return nil
	}
}

func ignore(Action) {}

// step takes one of the successor's steps, and requires the resulting state.
func step(t *testing.T, p *Predecessor, e Event, want SuccessorState, keeps ...string) {
	t.Helper()
	if state, err := p.Handle(e, func(Action) error { return nil }, keeps...); state != want || err != nil {
		t.Fatalf("event %d leads to %d, %v, not to %d", e, state, err, want)
	}
}

// await waits for an event from the other process.
func await(t *testing.T, from <-chan Event) Event {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no word")
		return 0
	}
}

// All sockets arrive, however many there are, and the predecessor learns which are kept. Then another process may ask.
func TestTakeover(t *testing.T) {
	path, s := offering(t, 2*maxPacketSockets+7, DefaultPatience, nil)
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		p, err := Ask(path)
		if err != nil {
			t.Fatal(err)
		}
		o := p.Offer
		if p.PID != os.Getpid() || o.Links != 4 || o.Up != 3 || len(o.Listeners) != 2 {
			t.Fatalf("%+v", p)
		}
		for i, l := range o.Listeners {
			if want := []string{"one", "two"}[i]; l.Address != want || len(l.Files) != 2*maxPacketSockets+7 {
				t.Fatalf("%d files at %s, want %s", len(l.Files), l.Address, want)
			}
			for _, f := range l.Files {
				if _, err := f.Stat(); err != nil {
					t.Fatal(err)
				}
			}
		}
		step(t, p, Linked, Beside, "two")
		next := receiveSuccessor(t, s)
		if len(next.Keeps) != 1 || next.Keeps[0] != "two" || next.PID != os.Getpid() {
			t.Fatalf("%+v", next)
		}
		if state := next.Handle(Served, ignore); state != Leaving {
			t.Fatal(state)
		}
		step(t, p, await(t, p.Events()), Alone)
		if e := await(t, next.Events()); e != Confirmed || next.Handle(e, ignore) != Retired {
			t.Fatal(e)
		}
	}
}

// A process that asks and fails, in any way, is told or dropped, and the next one is served.
func TestAskersThatFail(t *testing.T) {
	path, s := offering(t, 1, 50*time.Millisecond, nil)
	defer s.Close()
	raw := func(text string) *net.UnixConn {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	raw("").Close()
	for text, want := range map[string]string{
		"{": "unexpected end of JSON", `{"version":2}`: "speaks version 2", `{"serving":true}`: "speaks version 0",
	} {
		c := raw(text)
		if _, _, err := receive(c, 10*time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		c.Close()
	}
	slow, err := Ask(path)
	if err != nil {
		t.Fatal(err)
	}
	e := await(t, slow.Events())
	if reason := slow.Reason(); e != Refused || reason == nil || !strings.Contains(reason.Error(), "timeout") {
		t.Errorf("one that does not begin to serve: %v", reason)
	}
	step(t, slow, e, Withdrawn)
	if _, err := Ask(path); err != nil {
		t.Fatal(err)
	}
}

// A vanished successor is detected before anything is drained, even if it vanished after "leaving" was sent.
func TestSuccessorThatIsGone(t *testing.T) {
	for _, before := range []bool{false, true} {
		path, s := offering(t, 1, DefaultPatience, nil)
		defer s.Close()
		p, err := Ask(path)
		if err != nil {
			t.Fatal(err)
		}
		step(t, p, Linked, Beside)
		next := receiveSuccessor(t, s)
		if before {
			p.Close()
		}
		next.Handle(Served, ignore)
		p.Close()
		var did []Action
		state := next.Handle(await(t, next.Events()), func(a Action) { did = append(did, a) })
		if state != Available || len(did) != 1 || did[0] != TakePaths {
			t.Fatalf("gone before the word %v: state %d, actions %v", before, state, did)
		}
	}
}

// A predecessor that exits while it is asked counts as none, and the caller learns that.
func TestPredecessorThatEndsWhileAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.AcceptUnix()
		l.Close()
		if err == nil {
			_, _, _ = receive(c, 10*time.Second)
			_ = send(c, packet{Error: "it goes on"}) // and yet it exits
			c.Close()
		}
	}()
	if _, err := Ask(path); !errors.Is(err, ErrExited) || !errors.Is(err, ErrNobody) {
		t.Fatal(err)
	}
}

// Packets sent before the other end closed are read, even if it left packets unread, and even by a process that did not
// run while its time passed.
func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, wait := range []time.Duration{0, time.Minute, forever} {
		ours, err := net.DialUnix("unixpacket", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		theirs, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := receive(ours, 0); !errors.Is(err, os.ErrDeadlineExceeded) || hungUp(ours) {
			t.Errorf("nothing yet: %v", err)
		}
		if send(ours, packet{Serving: true}) != nil || send(theirs, packet{Leaving: true}) != nil {
			t.Fatal("cannot send")
		}
		theirs.Close()
		if !hungUp(ours) {
			t.Error("the end is not seen before the packet is read")
		}
		if got, _, err := receive(ours, wait); err != nil || !got.Leaving {
			t.Errorf("within %v: %+v, %v", wait, got, err)
		}
		if _, _, err := receive(ours, wait); !errors.Is(err, errGone) {
			t.Errorf("at the end, within %v: %v", wait, err)
		}
	}
}

func TestOfferThatFails(t *testing.T) {
	path, s := offering(t, 0, DefaultPatience, errors.New("no descriptors"))
	defer s.Close()
	if _, err := Ask(path); err == nil || !strings.Contains(err.Error(), "no descriptors") {
		t.Fatal(err)
	}
}

// A path belongs to one server; a stale socket is replaced. Close releases it, even while a process asks.
func TestPath(t *testing.T) {
	path, s := offering(t, 1, DefaultPatience, nil)
	again := func() error {
		s, err := Listen(path, DefaultPatience, slog.Default(), nil)
		if err == nil {
			s.Close()
		}
		return err
	}
	if err := again(); err == nil {
		t.Fatal("two at one path")
	}
	p, err := Ask(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.Close()
	step(t, p, await(t, p.Events()), Alone) // a server that closes without a packet no longer uses its listeners
	if _, err := Ask(path); !errors.Is(err, ErrNobody) {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if _, err := Ask(path); !errors.Is(err, ErrNobody) {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Fatal(fmt.Errorf("over a stale socket: %w", err))
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again(); err == nil || !strings.Contains(err.Error(), "takeover-socket: "+path+": there is a file") {
		t.Fatalf("over a file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "text" {
		t.Fatalf("the file now holds %q", text)
	}
}

// A server that is closed knows whether the successor that it hangs up on has the listeners, whatever it was doing. The
// caller may remove only what a successor does not have.
func TestCloseKnowsWhoHasTheListeners(t *testing.T) {
	_, s := offering(t, 1, DefaultPatience, nil)
	if s.Close() {
		t.Error("Close reported a successor although none had asked")
	}
	path, s := offering(t, 1, DefaultPatience, nil)
	p, err := Ask(path)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Close() {
		t.Error("the successor has them")
	}
	step(t, p, await(t, p.Events()), Alone)

	for range 20 { // the offer is in progress when the server is closed, and may arrive or not
		path := filepath.Join(t.TempDir(), "s")
		asked, goOn := make(chan struct{}), make(chan struct{})
		s, err := Listen(path, DefaultPatience, slog.New(slog.DiscardHandler), func() (Offer, error) {
			close(asked)
			<-goOn
			return Offer{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		came := make(chan *Predecessor)
		go func() {
			p, _ := Ask(path)
			came <- p
		}()
		<-asked
		offered := make(chan bool)
		go func() { offered <- s.Close() }()
		close(goOn)
		said, p := <-offered, <-came
		if said != (p != nil) {
			t.Fatalf("the successor has the listeners: %v, the server reported %v", p != nil, said)
		}
		if p != nil {
			p.Close()
		}
	}
}
