package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"megaphone/codec/frame"
	"megaphone/loop"
)

// A link whose other end sends no hello would stay silent until ping-timeout, because an HTTP server or an XMPP port
// waits for its client to speak first. After helloPatience an ordinary goroutine opens a second connection to the
// address. It sends something that is invalid in every protocol, and logs the answer. The link itself keeps waiting,
// because a busy origin may be late.

const (
	helloPatience   = 2 * time.Second
	inquiryPatience = time.Second      // for an answer
	inquiryInterval = 30 * time.Second // between two inquiries about an address
	inquiryQueue    = 8
)

var helloTicks = loop.Ticks(helloPatience)

// inquiry names an origin that sends no hello.
type inquiry struct {
	origin string
	at     netip.AddrPort
}

// inquire requests an inquiry. A full queue drops the request, and the next silent link asks again.
func (w *worker) inquire(n *node) {
	n.inquired = true
	select {
	case w.inquiries <- inquiry{n.cfg.Name, n.cfg.Addr}:
	default:
	}
}

// watchSilence makes the inquiries, one after the other, until ctx ends.
func watchSilence(ctx context.Context, inquiries <-chan inquiry, log *slog.Logger) {
	told := map[netip.AddrPort]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-inquiries:
			now := time.Now()
			for at, when := range told {
				if now.Sub(when) > inquiryInterval {
					delete(told, at)
				}
			}
			if _, recently := told[q.at]; recently {
				continue
			}
			told[q.at] = now
			if first, what := ask(ctx, q.at); what != "" && ctx.Err() == nil {
				log.Warn("no hello from origin", "origin", q.origin, "address", q.at.String(), "what", what,
					"first_bytes", frame.Quoted(first))
			}
		}
	}
}

// ask sends nonsense to an address. It returns the first bytes of the answer, and a guess at the protocol. Without a
// connection it returns "", because the links report that themselves.
func ask(ctx context.Context, at netip.AddrPort) (first []byte, what string) {
	dialer := net.Dialer{Timeout: inquiryPatience}
	c, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, ""
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = c.SetDeadline(time.Now().Add(inquiryPatience))
	// An origin takes this for an edge that leaves. The empty lines end the head of an HTTP request.
	const nonsense = "error this edge asks what listens here\n"
	if _, err := c.Write(append(frame.Append(nil, 0, []byte(nonsense)), "\r\n\r\n"...)); err != nil {
		return nil, "closed without an answer"
	}
	first = make([]byte, frame.HeaderBytes+frame.MaxQuotedBytes)
	n, err := io.ReadAtLeast(c, first, frame.MaxQuotedBytes)
	first = first[:n]
	var late net.Error
	switch f, _, _, bad := frame.Parse(first, 0); {
	case n > 0 && bad == nil && f.ID == 0:
		return first, "a slow link listener"
	case n > 0:
		return first, frame.Foreign(first)
	case errors.As(err, &late) && late.Timeout():
		return nil, "nothing in 2 s"
	}
	return nil, "closed without an answer"
}
