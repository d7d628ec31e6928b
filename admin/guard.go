package admin

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// guarded is a listener whose connections know where they come from.
type guarded struct {
	net.Listener
	loopback bool // it listens on this host only
	orders   string
	quit     <-chan struct{}
	log      *slog.Logger
}

// retryAccept is how long accepting pauses when it has failed.
const retryAccept = time.Second

// Accept fails only when the listener is closed. For want of descriptors it tries again: fasthttp would end for good,
// and that is when someone wants to look.
func (g guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	for err != nil && !errors.Is(err, net.ErrClosed) {
		g.log.Warn("admin cannot accept; trying again", "error", err)
		select {
		case <-g.quit:
			return nil, net.ErrClosed
		case <-time.After(retryAccept):
		}
		c, err = g.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	w := &way{Conn: c, closed: g.loopback, orders: g.orders}
	if at, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		w.tcp, w.local = true, at.IP.IsLoopback()
	} else {
		w.local = true
	}
	return w, nil
}

// way is how a request has come.
type way struct {
	net.Conn
	tcp    bool // not over the unix socket, which only those reach whom its mode lets
	local  bool // from this host
	closed bool // over a listener for this host only
	orders string
}

// refuse says why a request is not served, or "".
func refuse(ctx *fasthttp.RequestCtx) string {
	w, ok := ctx.Conn().(*way)
	if !ok {
		return "a connection of an unknown kind"
	}
	profile := strings.HasPrefix(string(ctx.Path()), "/debug/")
	order := !ctx.IsGet() && !ctx.IsHead() || profile
	switch {
	case order && !w.local:
		return "orders and profiles are for this host only: ask over the unix socket or a loopback address"
	case order && w.tcp && w.orders != "":
		return "orders and profiles are taken over the unix socket only: curl --unix-socket " + w.orders
	case w.tcp && (w.closed || order) && !named(string(ctx.Host())):
		return "the Host is neither an IP address nor localhost: browsers are led here like that"
	case !ctx.IsGet() && !ctx.IsHead() && fromPage(&ctx.Request.Header):
		return "orders of web pages are not taken"
	case profile && fromOtherSite(&ctx.Request.Header):
		return "web pages do not get profiles"
	}
	return ""
}

// named says whether a Host header is one that no other than the user can have put there: a name may be made to mean
// this host by whoever owns it, while its page runs in a browser here (DNS rebinding).
func named(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// fromPage says whether a browser sent this for a page. Every browser of the last years adds one of these to a POST.
func fromPage(h *fasthttp.RequestHeader) bool {
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if len(h.Peek(name)) > 0 {
			return true
		}
	}
	return false
}

// fromOtherSite says whether a browser asks for a page that is not ours, such as one with an image of that address. It
// could not read the profile, but have it made.
func fromOtherSite(h *fasthttp.RequestHeader) bool {
	site := string(h.Peek("Sec-Fetch-Site"))
	return site != "" && site != "none" && site != "same-origin"
}
