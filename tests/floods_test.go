package tests

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestAttackConnectionFlood: more clients connect than there may be, and thousands more come and go at once. Those who
// were there before are served all the time.
func TestAttackConnectionFlood(t *testing.T) {
	const most, clients = 6000, 7000 // --max-connections
	a := underAttack(t, "")
	s := newSwarm(t, a.Addr, clients, 0)
	a.Until("refusals", func(c map[string]int) bool { return c["refused"] > 0 })
	s.reset()
	a.Until("the end of the first wave", func(c map[string]int) bool { return c["open_now"] <= 1 })
	for range 3 {
		newSwarm(t, a.Addr, most/2, 0).reset()
	}
	if c := a.survived(clients, 0, attackBound); c["idle_timeouts"] > most {
		t.Errorf("counters %v", c)
	}
}

// TestAttackEndlessRequests: heads and bodies without end. As soon as there is too much of something, the client is
// told so and cut off, however much more it has to say.
func TestAttackEndlessRequests(t *testing.T) {
	const clients = 40
	const post = "POST /http-bind HTTP/1.1\r\nHost: h\r\n"
	for _, c := range []struct {
		name, first, again string
		times, status      int
	}{
		{"a million header lines", post, "a: b\r\n", 1_000_000, 431},
		{"a million empty header lines", post, "a:\r\n", 1_000_000, 431},
		{"one header line", post + "A: ", strings.Repeat("x", 100), 100_000, 431},
		{"the name of a header", post, strings.Repeat("x", 100), 100_000, 431},
		{"the target", "GET /", strings.Repeat("x", 100), 100_000, 414},
		{"the method", "", strings.Repeat("X", 100), 100_000, 0}, // 400 or 414, as it likes
		{"a body that is announced", post + "Content-Length: 999999999999\r\n\r\n", strings.Repeat("x", 100), 100_000,
			413},
		{"a length without end", post + "Content-Length: ", strings.Repeat("9", 100), 100_000, 431},
		{"a chunk that is announced", post + "Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "x", 1_000_000, 413},
		{"a million chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 1_000_000, 413},
		{"trailers", post + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n", 1_000_000, 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := underAttack(t, "")
			text := c.first + strings.Repeat(c.again, c.times)
			s := newSwarm(t, a.Addr, clients, 0)
			s.each(func(i int, conn *net.TCPConn) {
				_ = conn.SetDeadline(time.Now().Add(rig.Patience))
				said := make(chan struct{})
				go func() {
					defer close(said)
					_, _ = io.WriteString(conn, text)
				}()
				r, err := http.ReadResponse((&member{conn: conn}).reader(), nil)
				// The answer may be lost with the reset that follows when a client continues. It differs only when
				// there is no memory for the largest requests.
				if err == nil && r.StatusCode != c.status && r.StatusCode != 503 &&
					(c.status != 0 || r.StatusCode/100 != 4) {
					t.Errorf("client %d: %s", i, r.Status)
				}
				conn.Close()
				<-said
			})
			n := a.survived(clients, clients*len(text), attackBound)
			if n["http_errors"]+n["over_budget"] != clients || n["http_errors"] == 0 ||
				n["parked"] > n["released"]+n["held_now"] {
				t.Errorf("%d were refused and %d cut off of %d: %v", n["http_errors"], n["over_budget"], clients, n)
			}
		})
	}
}

// TestAttackOtherProtocols: clients that do not speak HTTP, or none that is spoken here, are refused at their first
// bytes, and nothing of what they say is taken for a request.
func TestAttackOtherProtocols(t *testing.T) {
	hello := clientHello(t)
	noise := rand.New(rand.NewPCG(0x6d656761, 0x70686f6e65)) // fixed: a test that fails can be run again
	for _, c := range []struct{ name, text string }{
		{"TLS", hello},
		{"a part of TLS", hello[:1]},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"XMPP", "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client'>"},
		{"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n"},
		{"PROXY", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"PROXY, binary", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02"},
		{"zeros", strings.Repeat("\x00", 4096)},
		{"noise", ""}, // of each client another
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const clients = 200
			texts := make([]string, clients)
			for i := range texts {
				if texts[i] = c.text; c.text == "" {
					p := make([]byte, 4096)
					for j := range p {
						p[j] = byte(noise.Uint32())
					}
					texts[i] = string(p)
				}
			}
			a := underAttack(t, "")
			s := newSwarm(t, a.Addr, clients, 0)
			s.each(func(i int, conn *net.TCPConn) {
				_ = conn.SetDeadline(time.Now().Add(rig.Patience))
				_, _ = io.WriteString(conn, texts[i])
				r, err := http.ReadResponse((&member{conn: conn}).reader(), nil)
				if err != nil || r.StatusCode/100 != 4 && r.StatusCode != 505 || !r.Close {
					t.Errorf("client %d: %v, %v", i, r, err)
				}
				conn.Close()
			})
			if n := a.survived(clients, 0, attackRest); n["http_errors"] != clients {
				t.Errorf("%d of %d were refused", n["http_errors"], clients)
			}
		})
	}
}

// clientHello is the first bytes of a real TLS client.
func clientHello(t *testing.T) string {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	_ = there.SetDeadline(time.Now().Add(rig.Patience))
	go func() { _ = tls.Client(here, &tls.Config{ServerName: "chat.example.org"}).Handshake() }()
	p := make([]byte, 16<<10)
	n, err := there.Read(p)
	if err != nil || n < 50 || p[0] != 22 {
		t.Fatalf("no ClientHello: %d bytes, %v", n, err)
	}
	return string(p[:n])
}
