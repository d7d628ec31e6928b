package edge

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/stats"
)

// pipeliner is a client that pipelines numbered requests, and checks the order of the answers.
type pipeliner struct {
	*client
	asked   int
	answers atomic.Int32
}

// listen checks that answer n carries the number n or none, and that no session ends with a 4xx.
func (p *pipeliner) listen() {
	for n := 1; ; n++ {
		res, err := http.ReadResponse(p.r, nil)
		if err != nil {
			return
		}
		text, _ := io.ReadAll(res.Body)
		var got int
		if _, after, ok := strings.Cut(string(text), "n='"); ok {
			fmt.Sscan(strings.ReplaceAll(after, "'", " "), &got)
		}
		if got != 0 && got != n || res.StatusCode != 200 && res.StatusCode < 500 {
			p.t.Errorf("answer %d is %d %q", n, res.StatusCode, text)
		}
		p.answers.Add(1)
	}
}

// waitModel is an edge with two origins that come and go, and whose links are cut.
type waitModel struct {
	t       testing.TB
	r       *rand.Rand
	e       *Edge
	origins []*fakeOrigin
	links   []*fakeLink // nil: away
	ups     uint64
	clients []*pipeliner
	alone   bool // the second origin is not in the configuration
}

// Whatever happens while requests and creations wait, each is answered once and in order. Afterwards no holds, bytes or
// counts are left.
func TestNothingStaysOfWhatWaited(t *testing.T) {
	var seen stats.Counters
	for range 4 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &waitModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), links: make([]*fakeLink, 2),
			origins: []*fakeOrigin{newFakeOrigin(t, "a"), newFakeOrigin(t, "b")}}
		m.e = startEdge(t, func(c *Config) {
			c.MinCreations, c.MaxCreations, c.MaxWaitingCreations, c.PingTimeout = 3, 6, 8, time.Hour
			c.CreateTimeout, c.CreateWait, c.EjectTime = 3*time.Second, 2*time.Second, time.Second
			c.Grace = 40 * time.Second
			c.IdleTimeout, c.MaxBufferedBytes, c.MaxPipelined = time.Hour, 16*waitChunkBytes, 5
		}, m.origins...)
		m.e.worker0(func(w *worker) { w.inquiries = nil }) // an origin that is away accepts connections, but is silent
		m.comeBack(0)
		m.comeBack(1)
		for range 1500 {
			m.step()
		}
		m.finish()
		for c := range seen {
			seen[c] += m.e.Counter(stats.Counter(c))
		}
	}
	for _, c := range []stats.Counter{stats.Waited, stats.CreationsWaited, stats.Retries, stats.CreateTimeouts,
		stats.Gone, stats.StaleReplies} {
		if seen[c] == 0 {
			t.Errorf("%s is 0: this has tried less than it should", c.Row().Name)
		}
	}
}

func (m *waitModel) step() {
	i := m.r.IntN(2)
	switch m.r.IntN(20) {
	case 0, 1:
		p := &pipeliner{client: connect(m.t, m.e)}
		p.r = bufio.NewReader(p.Conn)
		_ = p.SetDeadline(time.Now().Add(10 * patience))
		go p.listen()
		m.clients = append(m.clients, p)
	case 2, 3, 4, 5, 6, 7, 8:
		m.ask(i)
	case 9, 10, 11, 12:
		m.answer(i)
	case 13:
		if n := len(m.clients); n > 0 {
			k := m.r.IntN(n)
			m.clients[k].Close()
			m.clients = slices.Delete(m.clients, k, k+1)
		}
	case 14, 15, 16:
		m.e.advance(1 + m.r.IntN(8))
	case 17:
		if m.links[i] != nil && !m.alone && m.r.IntN(3) == 0 {
			_, up := m.e.Links()
			m.links[i].Close()
			m.links[i] = nil
			linked(m.t, m.e, up-1)
		}
	case 18:
		if m.links[i] == nil && m.r.IntN(2) == 0 {
			m.comeBack(i)
		}
	case 19:
		cfg := configOf(m.e, nil)
		cfg.Origins = slices.Clone(cfg.Origins)[:1]
		if m.alone || m.links[1] == nil {
			cfg.Origins = append(cfg.Origins, config.Origin{Name: "b", Address: m.origins[1].addr()})
		}
		m.alone = len(cfg.Origins) == 1
		if _, err := m.e.reload(cfg); err != nil {
			m.t.Fatal(err)
		}
	}
}

// comeBack lets an origin take the next link.
func (m *waitModel) comeBack(i int) {
	for greets, deadline := false, time.Now().Add(patience); !greets; { // no further tick, or it is late
		if time.Now().After(deadline) {
			m.t.Fatal("the origin is not dialled again")
		}
		m.e.worker0(func(w *worker) { greets = w.nodes[i].link.Up() && w.nodes[i].stage == stageGreeting })
		if !greets {
			m.e.advance(1)
			time.Sleep(time.Millisecond)
		}
	}
	m.links[i] = m.origins[i].link()
	m.ups++
	until(m.t, m.e, stats.LinksUp, m.ups)
}

// ask lets a client send a request with its next number.
func (m *waitModel) ask(i int) {
	if len(m.clients) == 0 {
		return
	}
	p := m.clients[m.r.IntN(len(m.clients))]
	p.asked++
	if m.r.IntN(3) == 0 {
		_, _ = p.Write([]byte(postText(withNumber(p.asked))))
		return
	}
	sid := tagged("s", m.origins[i].name)
	text := strings.Repeat("x", m.r.IntN(2)*m.r.IntN(2)*m.r.IntN(maxWaitingBytes+500))
	_, _ = p.Write([]byte(postText(fmt.Sprintf("<body sid='%s' rid='1' n='%d' %s>%s</body>", sid, p.asked, ns, text))))
}

// answer lets an origin answer its oldest queued request.
func (m *waitModel) answer(i int) {
	if m.links[i] == nil {
		return
	}
	select {
	case q := <-m.links[i].frames:
		_, after, _ := strings.Cut(q.body, " n='")
		n, _, _ := strings.Cut(after, "'")
		body := fmt.Sprintf("<body n='%s' %s/>", n, ns)
		if !strings.Contains(q.body, "sid=") {
			body = fmt.Sprintf("<body sid='s' n='%s' %s/>", n, ns)
		}
		p := frame.AppendReply(nil, q.id, []int{200, 200, 200, 503}[m.r.IntN(4)], []byte(body))
		_, _ = m.links[i].Write(p)
		if m.r.IntN(4) == 0 {
			_, _ = m.links[i].Write(p)
		}
	default:
	}
}

// finish lets all requests be answered.
func (m *waitModel) finish() {
	for i := range m.links {
		if m.links[i] == nil {
			m.comeBack(i)
		}
	}
	for deadline := time.Now().Add(patience); ; {
		for i := range m.links {
			for len(m.links[i].frames) > 0 {
				m.answer(i)
			}
		}
		m.e.advance(1)
		left := 0
		for _, p := range m.clients {
			left += p.asked - int(p.answers.Load())
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%d requests have no answer", left)
		}
	}
	m.e.advance(60)
	idle(m.t, m.e)
	m.e.worker0(func(w *worker) {
		if w.holds.Len() != 0 || w.waits.holds != 0 || w.waits.chunks.bytes != 0 {
			m.t.Errorf("%d holds, %d wait, %d bytes", w.holds.Len(), w.waits.holds, w.waits.chunks.bytes)
		}
		for _, n := range w.nodes {
			if n.held != 0 || n.away != 0 || n.health.links.Load() != 1 {
				m.t.Errorf("%s: %d held, %d away, %d links", n.cfg.Name, n.held, n.away, n.health.links.Load())
			}
		}
	})
}
