package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// probe is the well-behaved client that is served while others are not: it pings its server through the edge, now and
// again, and remembers the longest time that an answer took. Each request comes in two pieces, head and body, as those
// of many clients do.
type probe struct {
	t       testing.TB
	session *rig.Session
	addr    string
	stop    chan struct{}
	done    chan error
	first   chan struct{} // closed with the first answer
	pings   int
	longest time.Duration
}

// maxProbeTime is how long a well-behaved client may wait for an answer that is due at once, while the machine is busy
// with those that attack.
const maxProbeTime = 5 * time.Second

// betweenPieces is usually enough for the edge to read the head alone.
const betweenPieces = 2 * time.Millisecond

// newProbe logs in and begins to ping.
func newProbe(t testing.TB, addr string) *probe {
	t.Helper()
	c := rig.Connect(t, addr)
	p := &probe{t: t, session: rig.Create(t, c), addr: addr, stop: make(chan struct{}),
		done: make(chan error, 1), first: make(chan struct{})}
	p.session.LogIn(t, "probe", c)
	c.Close()
	go func() { p.done <- p.run() }()
	return p
}

func (p *probe) run() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		select {
		case <-p.stop:
			return nil
		case <-tick.C:
		}
		head, body, _ := strings.Cut(p.session.Ping(), "\r\n\r\n")
		began := time.Now()
		_ = c.SetDeadline(began.Add(rig.Patience))
		_, _ = io.WriteString(c, head+"\r\n\r\n")
		time.Sleep(betweenPieces)
		_, _ = io.WriteString(c, body)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return err
		}
		if r.StatusCode != 200 || !strings.Contains(string(text), p.session.Pong()) {
			return fmt.Errorf("%s: %s", r.Status, text)
		}
		if p.pings++; p.pings == 1 {
			close(p.first)
		}
		p.longest = max(p.longest, time.Since(began))
	}
}

// probeConnections is how many connections a probe makes.
const probeConnections = 2

// once is all there is to it: one answer, and the end.
func (p *probe) once() {
	p.t.Helper()
	select {
	case <-p.first:
	case err := <-p.done:
		p.t.Fatalf("the well-behaved client: %v", err)
	}
	p.end()
}

// end stops the pings and says how the client was served.
func (p *probe) end() {
	p.t.Helper()
	close(p.stop)
	err := <-p.done
	if err == nil && p.pings == 0 {
		err = errors.New("not one answer")
	}
	if err == nil && p.longest > maxProbeTime {
		err = fmt.Errorf("it waited for %v", p.longest)
	}
	if err != nil {
		p.t.Errorf("the well-behaved client, after %d pings: %v", p.pings, err)
	}
	p.t.Logf("meanwhile a well-behaved client had %d answers, the slowest after %v", p.pings,
		p.longest.Round(10*time.Microsecond))
}
