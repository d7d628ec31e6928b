package servers

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestTwoRequestsAtOnce: a client sends a poll and a stanza at once, on two sockets. The edge has two reactors, so that
// they come over two links to ejabberd half of the time, and the stanza's request, which has the higher rid, may be the
// first there. ejabberd's BOSH engine would keep it, and forget it.
func TestTwoRequestsAtOnce(t *testing.T) { withEngines(t, twoRequestsAtOnce) }

func twoRequestsAtOnce(t *testing.T, engine string) {
	const sessions, pairs = 8, 100
	j := startEjabberd(t).with(engine)
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	for range sessions {
		a, b := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
		s := rig.Create(t, a)
		s.LogIn(t, accounts[0], a, b)
		for range pairs {
			late := time.Now().Add(rig.Patience)
			_, _ = a.SetDeadline(late), b.SetDeadline(late)
			a.Send(s.Request(""))
			b.Send(s.Ping())
			a.Get().Want(t, 200, "<body")
			b.Get().Want(t, 200, s.Pong())
		}
		a.Send(s.End())
		a.Get().Want(t, 200, "type='terminate'")
	}
	// Sessions that have ended leave nothing behind.
	if n := j.number("ets:info(mod_megaphone_order, size)") + j.stats()["sessions"]; n != 0 {
		t.Errorf("%d sessions are remembered", n)
	}
}

// TestFirstTwoRequestsAtOnce is the same with the first two requests after the creation, which nothing but the creation
// itself can put in order.
func TestFirstTwoRequestsAtOnce(t *testing.T) { withEngines(t, firstTwoRequestsAtOnce) }

func firstTwoRequestsAtOnce(t *testing.T, engine string) {
	const sessions = 200
	j := startEjabberd(t).with(engine)
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	for range sessions {
		a, b := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
		s := rig.Create(t, a)
		late := time.Now().Add(rig.Patience)
		_, _ = a.SetDeadline(late), b.SetDeadline(late)
		a.Send(s.Request(""))
		b.Send(s.Request("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>"))
		a.Get().Want(t, 200, "<body")
		b.Get().Want(t, 200, "<failure")
		a.Send(s.End())
		a.Get().Want(t, 200, "type='terminate'")
		_, _ = a.Close(), b.Close()
	}
	if n := j.number("ets:info(mod_megaphone_order, size)") + j.stats()["sessions"]; n != 0 {
		t.Errorf("%d sessions are remembered", n)
	}
}

// TestTwoRequestsAtOnceByGateway is the same with the gateway, and with pairs that are a session's first: a poll and a
// log-in. A pair has stalled when its stanza is not answered within seconds. At ejabberd itself every tenth pair
// stalls, and every second one if it comes over new connections.
func TestTwoRequestsAtOnceByGateway(t *testing.T) {
	const sessions, talking, rounds = 200, 20, 10 // those that talk have later pairs
	withEach(t, func(t *testing.T, s server) {
		file, _ := secretFile(t)
		g := serveGateway(t, file, s.url())
		at := through("edge", serveEdge(t, 1, "g="+g.Addr, file))
		firsts, laters := 0, 0
		for n := range sessions {
			p := newPairs(t, at)
			if !p.both("", plain(accounts[0]), "<success") {
				firsts++
			} else if n < talking {
				p.bind()
				for range rounds {
					ping := fmt.Sprintf("<iq xmlns='jabber:client' type='get' id='p%d' to='localhost'>"+
						"<ping xmlns='urn:xmpp:ping'/></iq>", p.session.RID)
					if !p.both("", ping, fmt.Sprintf("id='p%d'", p.session.RID)) {
						laters++
						break
					}
				}
			}
			p.leave()
		}
		if firsts+laters > 0 {
			t.Errorf("%d of %d first pairs have stalled, and %d of %d later ones", firsts, sessions, laters,
				talking*rounds)
		}
	})
}

// pairs is a session that sends requests at once, over as many connections as it takes.
type pairs struct {
	t       *testing.T
	at      endpoint
	session *rig.Session
	free    chan *rig.Client
	got     chan string // answers
	all     []*rig.Client
}

// newPairs opens a session.
func newPairs(t *testing.T, at endpoint) *pairs {
	t.Helper()
	p := &pairs{t: t, at: at, free: make(chan *rig.Client, 100), got: make(chan string, 1000)}
	c := p.connection()
	p.session = rig.Create(t, c)
	p.free <- c
	return p
}

func (p *pairs) connection() *rig.Client {
	select {
	case c := <-p.free:
		return c
	default:
		c := rig.Connect(p.t, p.at.addr)
		p.all = append(p.all, c)
		return c
	}
}

// both sends two requests at once, and reports whether an answer to either has the given text before long.
func (p *pairs) both(first, second, want string) bool {
	p.t.Helper()
	a, b := p.connection(), p.connection()
	p.send(a, p.session.Request(first))
	p.send(b, p.session.Request(second))
	return p.hear(want)
}

func (p *pairs) send(c *rig.Client, text string) {
	p.t.Helper()
	_ = c.SetDeadline(time.Now().Add(rig.Patience))
	c.Send(text)
	go func() {
		r, err := http.ReadResponse(c.R, nil)
		if err != nil {
			return
		}
		if text, err := io.ReadAll(r.Body); err == nil && r.StatusCode == http.StatusOK {
			p.free <- c
			p.got <- string(text)
		}
	}()
}

func (p *pairs) hear(want string) bool {
	const soon = 5 * time.Second
	late := time.After(soon)
	for {
		select {
		case text := <-p.got:
			if strings.Contains(text, want) {
				return true
			}
		case <-late:
			return false
		}
	}
}

// bind makes the session, which has logged in, a user.
func (p *pairs) bind() {
	p.t.Helper()
	u := p.session
	u.RID++
	p.send(p.connection(), rig.PostText(fmt.Sprintf("<body rid='%d' sid='%s' xmpp:restart='true' "+
		"xmlns:xmpp='urn:xmpp:xbosh' %s/>", u.RID, u.SID, rig.BOSHNS)))
	if !p.hear("<bind") {
		p.t.Fatal("the stream was not opened again")
	}
	p.send(p.connection(), u.Request("<iq xmlns='jabber:client' type='set' id='b'>"+
		"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"))
	if !p.hear("<jid>") {
		p.t.Fatal("the user was not bound")
	}
}

// leave closes the connections. The server ends the session when it has missed it for long.
func (p *pairs) leave() {
	for _, c := range p.all {
		c.Close()
	}
}

// plain is a log-in.
func plain(name string) string {
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+password)) + "</auth>"
}

// TestMessagesComeInOrder: ten pairs of people, 2,000 messages each way at 200 a second, while the machine is busy.
// Each session's two connections belong to any of four reactors.
func TestMessagesComeInOrder(t *testing.T) {
	const pairs, messages, rate = 10, 2000, 200
	talk := func(t *testing.T, edge *rig.Process) {
		t.Helper()
		rig.KeepBusy(t, 2)
		people := rig.Pairs{Addr: edge.Addr, Names: accounts, Pairs: pairs, Messages: messages, Rate: rate}
		if a := people.Talk(t, 4*time.Minute); a.OutOfOrder > 0 || a.Twice > 0 {
			t.Errorf("%+v", a)
		}
	}
	for _, engine := range engines {
		t.Run("engine "+engine, func(t *testing.T) {
			talk(t, serveEdgeOf(t, 4, "a="+startEjabberd(t).with(engine).link, ""))
		})
	}
	for name, start := range map[string]func(t *testing.T) server{
		"gateway to ejabberd": func(t *testing.T) server { return startEjabberd(t) },
		"gateway to prosody":  func(t *testing.T) server { return startProsody(t) },
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := secretFile(t)
			g := serveGateway(t, file, start(t).url())
			talk(t, serveEdgeOf(t, 4, "g="+g.Addr, file))
		})
	}
}
