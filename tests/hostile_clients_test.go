package tests

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// TestAttackSlowReaders: thousands of clients ask for much, all at once, and read nothing.
func TestAttackSlowReaders(t *testing.T) {
	const clients, requests, answerBytes = 5000, 300, 500
	a := underAttack(t, "")
	s := newSwarm(t, a.Addr, clients, 4096)
	s.send(strings.Repeat("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n", requests))
	c := a.survived(clients, clients*requests*answerBytes, attackBound)
	if c["idle_timeouts"]+c["write_stalls"]+c["over_budget"] < clients {
		t.Error("it is not said why the clients were cut off")
	}
}

// TestAttackSlowReadersOfLargeReplies: the kernel takes megabytes for a client that reads nothing; then the edge must
// keep the rest, or cut off the client.
func TestAttackSlowReadersOfLargeReplies(t *testing.T) {
	const clients, requests, replyBytes = 100, 100, 100 << 10
	body := []byte("<body " + rig.BOSHNS + ">" + strings.Repeat("x", replyBytes) + "</body>")
	generous := newScripted(t, "bad", func(l *scriptedLink) {
		for {
			id, ok := l.request()
			if !ok || !l.write(frame.AppendReply(nil, id, 200, body)) {
				return
			}
		}
	})
	a := underAttack(t, generous.addr)
	s := newSwarm(t, a.Addr, clients, 4096)
	s.send(strings.Repeat(pollBad(""), requests))
	c := a.survived(clients, clients*requests*replyBytes, attackBound)
	if c["slow_readers"]+c["write_stalls"] == 0 || c["slow_readers"]+c["write_stalls"]+c["over_budget"] != clients {
		t.Error("it is not said why the clients were cut off")
	}
}

// TestAttackPipelinedFlood: clients send requests without end; their origin answers none.
func TestAttackPipelinedFlood(t *testing.T) {
	const clients, requests, bodyBytes, underWay = 1000, 100, 4 << 10, 5 // fewer than may be held, so others continue
	sink := newScripted(t, "bad", func(l *scriptedLink) {
		for ok := true; ok; {
			_, ok = l.request()
		}
	})
	a := underAttack(t, sink.addr, "--hold-timeout", "5s", "--max-pipelined", fmt.Sprint(underWay),
		"--ping-timeout", "30s") // pongs are behind all of it
	s := newSwarm(t, a.Addr, clients, 0)
	offered := s.send(strings.Repeat(pollBad(strings.Repeat("x", bodyBytes)), requests))
	c := a.survived(clients, offered, attackBound)
	if c["expired"] == 0 || c["expired"]+c["over_budget"]+c["table_full"]+c["idle_timeouts"] < clients {
		t.Error("it is not said why the clients were cut off")
	}
	if held := c["parked"] - c["released"]; held > clients*underWay {
		t.Errorf("%d requests were under way, at most %d may be", held, clients*underWay)
	}
}

// TestAttackHalfRequests: hundreds or thousands of clients send a part of a request, in two pieces, and no more.
func TestAttackHalfRequests(t *testing.T) {
	const post = "POST /http-bind HTTP/1.1\r\nHost: h\r\n"
	for _, c := range []struct {
		name, first, second, counter string
		announced                    int // bytes that the head announces
		clients                      int
	}{
		{"heads", post + "X: " + strings.Repeat("x", 10_000), "xx", "head_timeouts", 16 << 10, 4000},
		{"bodies", post + "Content-Length: 200000\r\n\r\n<body ", "x", "body_timeouts", 200_000, 4000},
		{"chunks", post + "Transfer-Encoding: chunked\r\n\r\n30000\r\n<body ", "x", "body_timeouts", 0x30000, 4000},
		{"large bodies", post + "Content-Length: 262000\r\n\r\n<body " + strings.Repeat("x", 200_000), "x",
			"body_timeouts", 262_000, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for timeouts most of the time
			a := underAttack(t, "")
			s := newSwarm(t, a.Addr, c.clients, 0)
			s.send(c.first)
			s.send(c.second)
			n := a.survived(c.clients, c.clients*c.announced, attackBound)
			said := n["head_timeouts"] + n["body_timeouts"] + n["idle_timeouts"] + n["over_budget"]
			if n[c.counter] == 0 || said != c.clients {
				t.Errorf("%d %s, and it is said of %d of %d clients why they were cut off",
					n[c.counter], c.counter, said, c.clients)
			}
		})
	}
}

// TestAttackResets: thousands of clients vanish with a reset, at every moment of a request's life, again and again.
func TestAttackResets(t *testing.T) {
	const clients, waves = 1000, 3
	a := underAttack(t, "")
	for range waves {
		s := newSwarm(t, a.Addr, clients, 0)
		s.each(func(i int, c *net.TCPConn) { resetAt(i, c) })
		a.Until("held requests", func(c map[string]int) bool { return c["held_now"] >= clients/5 })
		s.reset()
		a.Until("the end of the wave", func(c map[string]int) bool { return c["held_now"] <= 1 && c["open_now"] <= 1 })
	}
	c := a.survived(waves*clients, 0, attackRest)
	if c["gone"] < waves*clients/5 || c["gone"]+c["released"]+c["held_now"] != c["parked"] {
		t.Errorf("%d requests parked, %d released, %d gone, %d held",
			c["parked"], c["released"], c["gone"], c["held_now"])
	}
}

// resetAt brings a client to where it will be when it vanishes: one of five moments.
func resetAt(i int, c *net.TCPConn) {
	_ = c.SetDeadline(time.Now().Add(rig.Patience))
	m := member{conn: c}
	switch i % 5 {
	case 0: // connected
	case 1: // within a head
		_ = m.send("POST /http-bind HTTP/1.1\r\nHo")
	case 2: // within a body
		_ = m.send("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n<body")
	case 3: // a request is held
		_ = m.send(rig.PostText(rig.CreationText("localhost")))
		text, _ := m.read(bufio.NewReader(c))
		if found := rig.SIDPattern.FindStringSubmatch(text); found != nil {
			m.session = rig.Session{SID: found[1], RID: 1000}
			_ = m.send(m.session.Request(""))
		}
	case 4: // an answer is on its way
		_ = m.send(rig.PostText(rig.CreationText("localhost")))
	}
}
