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

// guarded is a listener whose connections know their origin.
type guarded struct {
	net.Listener
	loopback      bool // it listens on this host only
	commandSocket string
	quit          <-chan struct{}
	log           *slog.Logger
}

// retryAccept is the pause of accepting after a failure.
const retryAccept = time.Second

// Accept fails only if the listener is closed. On other errors, such as too few descriptors, it retries, because
// fasthttp would stop for good just when operators need the endpoint.
func (g guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	for err != nil && !errors.Is(err, net.ErrClosed) {
		g.log.Warn("admin accept failed", "error", err)
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
	w := &guardedConn{Conn: c, hostOnly: g.loopback, commandSocket: g.commandSocket}
	if at, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		w.tcp, w.local = true, at.IP.IsLoopback()
	} else {
		w.local = true
	}
	return w, nil
}

// guardedConn is a connection with the way by which it came.
type guardedConn struct {
	net.Conn
	tcp           bool // not over the unix socket, whose mode restricts access
	local         bool // from this host
	hostOnly      bool // over a listener for this host only
	commandSocket string
}

// refuse returns the reason to refuse a request, or "".
func refuse(ctx *fasthttp.RequestCtx) string {
	w, ok := ctx.Conn().(*guardedConn)
	if !ok {
		return "unknown kind of connection"
	}
	profile := strings.HasPrefix(string(ctx.Path()), "/debug/")
	restricted := !ctx.IsGet() && !ctx.IsHead() || profile
	switch {
	case restricted && !w.local:
		return "commands and profiles are for this host only: use the unix socket or a loopback address"
	case restricted && w.tcp && w.commandSocket != "":
		return "commands and profiles are accepted only over the unix socket: curl --unix-socket " + w.commandSocket
	case w.tcp && (w.hostOnly || restricted) && !named(string(ctx.Host())):
		return "the Host must be an IP address or localhost (protection from DNS rebinding)"
	case !ctx.IsGet() && !ctx.IsHead() && fromPage(&ctx.Request.Header):
		return "commands from web pages are refused"
	case profile && fromOtherSite(&ctx.Request.Header):
		return "profiles for web pages are refused"
	}
	return ""
}

// named reports whether a Host header can only come from the user. The owner of a name can make it point to this host
// while his page runs in a browser here (DNS rebinding).
func named(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// fromPage reports whether a browser sent this for a page. Every recent browser adds one of these headers to a POST.
func fromPage(h *fasthttp.RequestHeader) bool {
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if len(h.Peek(name)) > 0 {
			return true
		}
	}
	return false
}

// fromOtherSite reports whether a browser sent this for a page of another site, such as one with an image of that
// address. That page could not read the profile, but could trigger it.
func fromOtherSite(h *fasthttp.RequestHeader) bool {
	site := string(h.Peek("Sec-Fetch-Site"))
	return site != "" && site != "none" && site != "same-origin"
}
