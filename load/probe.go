package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/handshake"
)

// The timeouts of a probe.
const (
	probeConnect = 5 * time.Second
	probeAnswer  = 10 * time.Second // or the run's patience, if shorter
	probeRetries = 10               // on a 503, because a server may be starting
	probeRetry   = 500 * time.Millisecond
)

// errProbe means that the target does not answer as an endpoint of the transport that serves the domain.
var errProbe = errors.New("nothing was loaded")

// errBusy means that a later answer may differ.
var errBusy = errors.New("not ready")

// Probe connects once from each source of cfg, opens one session and ends it. A run against the wrong address thus ends
// before it begins. It returns errProbe if the target is unsuitable, and ErrTarget if it must not be loaded.
func Probe(ctx context.Context, cfg Config) error {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	to, err := resolveTarget(ctx, cfg.Target, cfg.AllowPublic)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if err := newWatcher(cfg.Processes).check(); err != nil {
		return err
	}
	setDefault(&cfg.Domain, to.domain())
	sources := cfg.Sources
	if len(sources) == 0 {
		sources = []netip.Addr{{}}
	}
	for i, from := range sources {
		p := &probe{cfg: &cfg, to: &to, from: from}
		var err error
		if i == 0 {
			err = p.patiently(ctx)
		} else {
			err = p.attempt(ctx, func(context.Context, net.Conn) error { return nil })
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: %s: %w", errProbe, cfg.Target, err)
		}
	}
	return nil
}

// probe is the first session, on an ordinary goroutine.
type probe struct {
	cfg  *Config
	to   *target
	from netip.Addr // the zero Addr leaves it to the kernel

	session *handshake.Session // to be filled; nil: none
}

// patiently retries while the server reports that it is not ready.
func (p *probe) patiently(ctx context.Context) error {
	converse := p.converse
	if p.to.websocket {
		converse = p.converseStream
	}
	for tries := 0; ; tries++ {
		err := p.attempt(ctx, converse)
		if !errors.Is(err, errBusy) || tries == probeRetries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probeRetry):
		}
	}
}

// attempt runs talk on a new connection.
func (p *probe) attempt(ctx context.Context, talk func(ctx context.Context, conn net.Conn) error) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return talk(ctx, conn)
}

func (p *probe) connect(ctx context.Context) (net.Conn, error) {
	from := p.from
	d := net.Dialer{Timeout: probeConnect}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", p.to.at.String())
	switch {
	case err == nil && p.to.secure:
		secured, err := p.encrypt(ctx, conn)
		if err != nil {
			conn.Close()
		}
		return secured, err
	case err == nil:
		return conn, nil
	}
	where := p.to.at.String()
	if from.IsValid() {
		where += " from " + from.String()
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("connection refused: nothing listens on %s", where)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, fmt.Errorf("no answer to a connection to %s within %s: is the host up, and no firewall in between?",
			where, probeConnect)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("--source %s: this host does not have that address", from)
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return nil, fmt.Errorf("no connection to %s: %w", where, err)
}

// reply is the relevant part of a <body>.
type reply struct {
	XMLName   xml.Name
	SID       string `xml:"sid,attr"`
	Type      string `xml:"type,attr"`
	Condition string `xml:"condition,attr"`
}

// converse opens a session and ends it.
func (p *probe) converse(ctx context.Context, conn net.Conn) error {
	patience := min(probeAnswer, p.cfg.Patience)
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	w := newWriter(p.to, p.cfg, 0)
	var s session
	rid := 1 + rand.Uint64N(maxFirstRID)
	resp, body, err := exchange(conn, in, w.plain(&s, rid, kindCreate))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connected, but no answer to a session's creation within %s", patience)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return errors.New("connected, but the connection was closed without an answer: is this HTTP?")
	case err != nil:
		return errors.New("the answer is not HTTP")
	}
	r, err := judgeReply(resp, body, p.cfg.Domain)
	if err != nil {
		return err
	}
	s.sidLen = uint8(copy(s.sid[:], r.SID))
	end := func(_ context.Context, conn net.Conn) error {
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _, _ = exchange(conn, bufio.NewReader(conn), w.plain(&s, rid+1, kindTerminate))
		return nil
	}
	if resp.Close {
		_ = p.attempt(ctx, end) // if that fails, the server ends the session later
		return nil
	}
	return end(ctx, conn)
}

// exchange sends a request and reads the response.
func exchange(conn net.Conn, in *bufio.Reader, request []byte) (*http.Response, []byte, error) {
	if _, err := conn.Write(request); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes))
	return resp, body, err
}

// judgeReply checks whether the reply to a creation began a session.
func judgeReply(resp *http.Response, body []byte, domain string) (r reply, err error) {
	what := "nothing"
	if len(body) > 0 {
		what = fmt.Sprintf("%.40q", bytes.TrimSpace(body))
	}
	switch status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)); {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return r, fmt.Errorf("%w: it answers %s: does the edge have its origin?", errBusy, status)
	case resp.StatusCode == http.StatusNotFound:
		return r, fmt.Errorf("it answers %s (%s): is the path wrong? Most endpoints are at /http-bind", status,
			or(resp.Header.Get("Content-Type"), "no type"))
	case resp.StatusCode/100 == 3 && resp.Header.Get("Location") != "":
		return r, fmt.Errorf("it answers %s: is %s meant?", status, resp.Header.Get("Location"))
	case resp.StatusCode != http.StatusOK:
		return r, fmt.Errorf("it answers %s to a session's creation, with %s", status, what)
	}
	if xml.NewDecoder(bytes.NewReader(body)).Decode(&r) != nil || r.XMLName.Local != "body" ||
		r.XMLName.Space != boshbody.Namespace {
		return r, fmt.Errorf("no BOSH endpoint (%s, %s): is the path wrong?",
			or(resp.Header.Get("Content-Type"), "no type"), what)
	}
	switch {
	case r.Type == "terminate" && (r.Condition == "host-unknown" || r.Condition == "improper-addressing"):
		return r, fmt.Errorf("it refuses the session: condition %s: it does not serve the domain %s: give another "+
			"with --domain", r.Condition, domain)
	case r.Type == "terminate":
		return r, fmt.Errorf("it ends the session at once: condition %s", or(r.Condition, "left out"))
	case r.SID == "" || len(r.SID) > maxSIDBytes:
		return r, errors.New("its reply to a session's creation has no sid, or one that is too long")
	}
	return r, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
