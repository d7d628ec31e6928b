package admin

import (
	_ "embed"
	"encoding/json"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"github.com/valyala/fasthttp/pprofhandler"

	"megaphone/edge"
)

// Edge is what the server shows: the read-only side of an edge.
type Edge interface{ View() *edge.View }

// Config is what an admin endpoint can be told.
type Config struct {
	Address string // host:port, auto, or off; auto is DefaultAddress, as soon as that is free
	Socket  string // path of a unix socket, auto, or off; auto is RuntimeSocket, as soon as that is free
	Wait    bool   // addresses in use are waited for, as during a takeover; otherwise they are errors

	Edge      Edge
	Version   string
	Draining  func() bool                        // nil: never
	DrainNode func(origin string, on bool) error // nil: cannot be asked for
	Log       *slog.Logger
	// LogDropped counts the records of the process's log that were lost. nil: none are.
	LogDropped func() uint64
}

// DefaultAddress is where an edge shows itself unless told otherwise.
const DefaultAddress = "127.0.0.1:5281"

// Server is a running admin endpoint.
type Server struct {
	cfg       Config
	http      *fasthttp.Server
	metrics   fasthttp.RequestHandler
	orders    string // path of the unix socket that orders must come over; "": they come from loopback too
	quit      chan struct{}
	serving   sync.WaitGroup
	mu        sync.Mutex
	listeners []net.Listener
	stopped   bool
}

// Start listens and serves. An address that is in use is an error, unless it may be waited for.
func Start(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, quit: make(chan struct{})}
	s.http = &fasthttp.Server{
		Handler: s.handle, Name: "megaphone", Logger: quiet{}, NoDefaultDate: false,
		ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, // a profile takes a minute
		IdleTimeout: time.Minute, MaxRequestBodySize: 4 << 10, Concurrency: 256,
	}
	s.metrics = fasthttpadaptor.NewFastHTTPHandler(exposition(s.status, cfg.Log))
	places, err := places(cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if p.network == "unix" {
			s.orders = p.address
		}
	}
	for _, p := range places {
		l, err := p.listen()
		switch {
		case err == nil:
			s.serve(p, l)
		case inUse(err) && p.patient:
			cfg.Log.Warn("admin address in use; waiting for it", "address", p.address)
			s.serving.Go(func() { s.await(p) })
		case p.optional:
			cfg.Log.Warn("no admin socket", "error", err)
		default:
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// retryListen is how often an address in use is tried again.
const retryListen = time.Second

// await serves at a place as soon as it is free.
func (s *Server) await(p place) {
	retry := time.NewTicker(retryListen)
	defer retry.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-retry.C:
		}
		if l, err := p.listen(); err == nil {
			s.serve(p, l)
			return
		}
	}
}

func (s *Server) serve(p place, l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = l.Close()
		return
	}
	s.listeners = append(s.listeners, l)
	s.cfg.Log.Info("admin started", "address", p.name(l))
	s.serving.Go(func() { _ = s.http.Serve(guarded{l, p.loopback(l), s.orders, s.quit, s.cfg.Log}) })
}

// Address is the first address that is listened on, or "".
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) == 0 {
		return ""
	}
	return s.listeners[0].Addr().String()
}

// Stop closes everything. Requests under way are not waited for.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.stopped = true
	close(s.quit)
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// quiet keeps fasthttp's complaints about clients out of the log.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

const profiles = "/debug/pprof/"

//go:embed page.html
var page []byte

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	if why := refuse(ctx); why != "" {
		text(ctx, fasthttp.StatusForbidden, why)
		return
	}
	h := &ctx.Response.Header
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	path := string(ctx.Path())
	if path != "/" && path != profiles {
		path = strings.TrimSuffix(path, "/")
	}
	switch {
	case path == "/drain":
		s.drain(ctx)
	case !ctx.IsGet() && !ctx.IsHead():
		h.Set("Allow", "GET, HEAD")
		text(ctx, fasthttp.StatusMethodNotAllowed, "this can only be read")
	case path == "/":
		h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "+
			"script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
		ctx.SetContentType("text/html; charset=utf-8")
		ctx.SetBody(page)
	case path == "/metrics":
		s.metrics(ctx)
	case path == "/status":
		ctx.SetContentType("application/json")
		body, _ := json.Marshal(s.status()) // numbers and texts: it cannot fail
		ctx.SetBody(body)
	case path == "/healthz":
		text(ctx, fasthttp.StatusOK, "alive")
	case path == "/readyz":
		s.ready(ctx)
	case path+"/" == profiles: // its links are relative
		h.Set("Location", profiles)
		text(ctx, fasthttp.StatusPermanentRedirect, profiles)
	case strings.HasPrefix(path, profiles):
		// All of it is in memory before it is sent, and a trace grows by megabytes a second.
		if n, err := strconv.ParseFloat(string(ctx.QueryArgs().Peek("seconds")), 64); err == nil && !(n <= 60) {
			text(ctx, fasthttp.StatusBadRequest, "seconds: a profile takes 60 at most")
			return
		}
		pprofhandler.PprofHandler(ctx)
	default:
		text(ctx, fasthttp.StatusNotFound, "there are /, /metrics, /status, /healthz, /readyz, /debug/pprof/")
	}
}

func text(ctx *fasthttp.RequestCtx, status int, body string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(body + "\n")
}

func (s *Server) status() *Status {
	st := newStatus(s.cfg.Edge.View(), s.cfg.Draining != nil && s.cfg.Draining())
	st.Version = s.cfg.Version
	st.Memory = readMemory()
	st.Go = readGo(&st.Memory)
	st.CPUSeconds = cpuSeconds()
	st.Descriptors = readDescriptors(st.view)
	if s.cfg.LogDropped != nil {
		st.LogDropped = s.cfg.LogDropped()
	}
	return st
}

func (s *Server) ready(ctx *fasthttp.RequestCtx) {
	st := newStatus(s.cfg.Edge.View(), s.cfg.Draining != nil && s.cfg.Draining())
	if st.Ready {
		text(ctx, fasthttp.StatusOK, "ready")
		return
	}
	text(ctx, fasthttp.StatusServiceUnavailable, "not ready\n"+strings.Join(st.Reasons, "\n"))
}

// drain has an origin get no new sessions, or some again: POST /drain?origin=NAME&on=true|false.
func (s *Server) drain(ctx *fasthttp.RequestCtx) {
	origin, on := string(ctx.QueryArgs().Peek("origin")), string(ctx.QueryArgs().Peek("on"))
	switch {
	case !ctx.IsPost():
		ctx.Response.Header.Set("Allow", "POST")
		text(ctx, fasthttp.StatusMethodNotAllowed, "this is an order: POST it")
		return
	case s.cfg.DrainNode == nil:
		text(ctx, fasthttp.StatusNotImplemented, "this edge cannot drain an origin")
		return
	case on != "true" && on != "false":
		text(ctx, fasthttp.StatusBadRequest, "on: give true or false")
		return
	}
	if err := s.cfg.DrainNode(origin, on == "true"); err != nil {
		text(ctx, fasthttp.StatusNotFound, err.Error())
		return
	}
	text(ctx, fasthttp.StatusOK, origin+": drain "+on)
}
