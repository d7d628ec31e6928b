package gateway

import (
	"bufio"
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// probed is the result of a probe.
type probed struct {
	endpoint *endpoint
	status   int
	err      error
}

// probe requests a page from an endpoint on a socket of its own. Any answer is a sign of life, except those by which a
// proxy reports an unreachable server. A connection alone is no sign, because proxies and listeners of hung processes
// accept connections.
func (g *Gateway) probe(e *endpoint) {
	e.probing = true
	g.stats.Probes++
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		p := probed{endpoint: e}
		p.status, p.err = g.ask(e)
		g.done.mu.Lock()
		g.done.probes = append(g.done.probes, p)
		g.done.mu.Unlock() // the next tick is soon enough
	}()
}

func (g *Gateway) ask(e *endpoint) (status int, err error) {
	s, err := g.dial(e)
	if err != nil {
		return 0, err
	}
	defer s.conn.Close()
	s.conn.SetDeadline(time.Now().Add(g.cfg.ConnectTimeout))
	if _, err = s.conn.Write([]byte(e.get)); err != nil {
		return 0, err
	}
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	// The head is enough. The page does not matter.
	err = resp.Header.Read(bufio.NewReaderSize(s.conn, g.cfg.MaxHeadBytes))
	if long := (*fasthttp.ErrSmallBuffer)(nil); errors.As(err, &long) {
		return fasthttp.StatusOK, nil // still an answer
	}
	return resp.StatusCode(), err
}

// probed processes a probe's result.
func (g *Gateway) probed(p probed) {
	e := p.endpoint
	e.probing = false
	if p.err == nil && !noneBehind(p.status) {
		if p.status >= 400 && p.status != fasthttp.StatusMethodNotAllowed {
			g.log.Debug("endpoint rejects GET", "url", e.url, "status", p.status)
		}
		g.trust(e)
		return
	}
	switch e.health {
	case healthGood: // a request was answered during the probe
		return
	case healthDoubtful:
		e.health = healthDown
		g.stats.Downs++
		why := "status"
		if p.err != nil {
			why = strings.TrimSpace(p.err.Error())
		}
		g.log.Warn("endpoint is down", "url", e.url, "reason", why, "status", p.status)
	}
	e.probeAt = g.now + g.cfg.ProbeInterval.Milliseconds()
}

// noneBehind reports whether proxies use a status to report that their server is unreachable.
func noneBehind(status int) bool { return status >= 502 && status <= 504 }
