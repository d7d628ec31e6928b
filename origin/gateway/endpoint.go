package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"

	"megaphone/codec/boshbody"
)

// health is the state of an endpoint.
type health uint8

const (
	// It answers, as far as is known. next: healthDoubtful (a request failed)
	healthGood health = iota
	// A probe is in progress. Requests continue, because one failure may have many causes. next: healthGood (the probe
	// or a request was answered), healthDown (the probe failed)
	healthDoubtful
	// It receives only probes, one after the other. next: healthGood (a probe was answered, or a request that it still
	// had)
	healthDown
)

// endpoint is a BOSH endpoint of an XMPP server.
type endpoint struct {
	url     string
	address string      // host:port to dial
	post    string      // the head of a request, up to its URL
	mark    byte        // the separator between that URL and a client's query: '?' or '&'
	fields  string      // the rest of the head, up to the value of Content-Length
	get     string      // a probe
	secure  *tls.Config // nil: http
	tag     [boshbody.TagBytes]byte

	// Owned by the engine.
	held    int   // requests in progress
	lag     int64 // us; about the longest recent time to read a request
	health  health
	since   int64 // ms, the time of the failure that ended healthGood
	probing bool
	probeAt int64 // ms, the time of the next probe while it is down

	idle []*socket // owned by the pool, oldest first
}

// parseEndpoints parses and checks URLs. Certificates of https are verified against roots, or this host's if nil.
func parseEndpoints(urls []string, roots *x509.CertPool) ([]*endpoint, error) {
	const example = "http://127.0.0.1:5280/http-bind"
	if len(urls) == 0 {
		return nil, bad("bosh", "none", "name the URL of at least one BOSH endpoint, for example "+example)
	}
	if len(urls) > maxEndpoints {
		return nil, bad("bosh", len(urls), fmt.Sprintf("at most %d endpoints", maxEndpoints))
	}
	var list []*endpoint
	tags := map[[boshbody.TagBytes]byte]string{}
	for _, text := range urls {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Hostname() == "" || u.Opaque != "":
			return nil, bad("bosh", text, "give a URL, for example "+example)
		case u.Scheme != "http" && u.Scheme != "https":
			return nil, bad("bosh", text, "only http and https, for example "+example)
		case u.User != nil || u.Fragment != "":
			return nil, bad("bosh", text, "give a URL without user and fragment, for example "+example)
		}
		e := &endpoint{url: text, tag: boshbody.TagOf(text), secure: secureConfig(u, roots)}
		port := u.Port()
		switch {
		case port == "" && e.secure != nil:
			port = "443"
		case port == "":
			port = "80"
		}
		e.address = net.JoinHostPort(u.Hostname(), port)
		// RequestURI and Host are escaped, so no space and no control character gets through.
		common := " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: megaphone\r\n"
		e.post, e.mark = "POST "+u.RequestURI(), '?'
		if u.RawQuery != "" {
			e.mark = '&'
		}
		e.fields = common + "Content-Type: text/xml; charset=utf-8\r\nContent-Length: "
		e.get = "GET " + u.RequestURI() + common + "Connection: close\r\n\r\n"
		if strings.ContainsAny(u.RequestURI()+u.Host, " \r\n") {
			return nil, bad("bosh", text, "give a URL without spaces and control characters")
		}
		if other, taken := tags[e.tag]; taken {
			return nil, bad("bosh", text, fmt.Sprintf("%s is listed already, or has the same tag: write it differently",
				other))
		}
		tags[e.tag] = text
		list = append(list, e)
	}
	return list, nil
}

// verdict is whether an endpoint can take a request.
type verdict uint8

const (
	endpointReady verdict = iota
	endpointAway          // down, and expected back
	endpointGone          // down for longer than the grace
)

func (g *Gateway) verdict(e *endpoint) verdict {
	switch {
	case e.health != healthDown:
		return endpointReady
	case g.now-e.since <= g.cfg.Grace.Milliseconds():
		return endpointAway
	}
	return endpointGone
}

// byTag returns the endpoint with the given tag, or nil.
func (g *Gateway) byTag(tag []byte) *endpoint {
	for _, e := range g.endpoints {
		if string(e.tag[:]) == string(tag) {
			return e
		}
	}
	return nil
}

// choose picks an endpoint for a new session. It draws two healthy ones at random and takes the one with fewer requests
// in progress (Mitzenmacher, The Power of Two Choices). If none is healthy, it returns the best verdict of all.
func (g *Gateway) choose() (*endpoint, verdict) {
	g.healthy = g.healthy[:0]
	best := endpointGone
	for _, e := range g.endpoints {
		v := g.verdict(e)
		if v == endpointReady {
			g.healthy = append(g.healthy, e)
		}
		best = min(best, v)
	}
	switch k := len(g.healthy); k {
	case 0:
		return nil, best
	case 1:
		return g.healthy[0], endpointReady
	default:
		i := rand.IntN(k)
		j := (i + 1 + rand.IntN(k-1)) % k
		if g.healthy[j].held < g.healthy[i].held {
			i = j
		}
		return g.healthy[i], endpointReady
	}
}

// tookToRead records how long (us) the endpoint took to read a request. lag is a decaying maximum.
func (e *endpoint) tookToRead(micros int64) { e.lag = max(micros, e.lag-e.lag/8) }

// headStart returns how long (us) the successor of a request to the endpoint waits.
func (e *endpoint) headStart() int64 {
	return min(max(headStartFactor*e.lag, minHeadStartMicros), maxHeadStartMicros)
}

// doubt records a failure.
func (g *Gateway) doubt(e *endpoint) {
	if e.health == healthGood {
		e.health, e.since = healthDoubtful, g.now
		g.probe(e)
	}
}

// trust records an answer.
func (g *Gateway) trust(e *endpoint) {
	if e.health == healthDown {
		g.log.Info("endpoint is back", "url", e.url, "after_ms", g.now-e.since)
	}
	e.health = healthGood
}
