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

// Edge is the read-only side of an edge, which the server shows.
type Edge interface{ View() *edge.View }

// Config configures an admin endpoint.
type Config struct {
	Address string // host:port, auto, or off; auto is DefaultAddress, as soon as that is free
	Socket  string // path of a unix socket, auto, or off; auto is runtimeSocket, as soon as that is free
	Wait    bool   // wait for addresses in use, as during a takeover; otherwise they are errors

	Edge      Edge
	Version   string
	Draining  func() bool                        // nil: never
	DrainNode func(origin string, on bool) error // nil: unsupported
	Log       *slog.Logger
	// LogDropped returns the number of lost records of the process's log. nil: none are lost.
	LogDropped func() uint64
}

// DefaultAddress is the admin address of an edge unless configured.
const DefaultAddress = "127.0.0.1:5281"

// Server is a running admin endpoint.
type Server struct {
	cfg           Config
	http          *fasthttp.Server
	metrics       fasthttp.RequestHandler
	commandSocket string // path of the unix socket that commands must use; "": they may use loopback too
	quit          chan struct{}
	serving       sync.WaitGroup
	mu            sync.Mutex
	listeners     []net.Listener
	stopped       bool
}

// Start listens and serves. An address in use is an error, unless the server may wait for it.
func Start(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, quit: make(chan struct{})}
	s.http = &fasthttp.Server{
		Handler: s.handle, Name: "megaphone", Logger: quiet{}, NoDefaultDate: false,
		ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, // a profile takes a minute
		IdleTimeout: time.Minute, MaxRequestBodySize: 4 << 10, Concurrency: 256,
	}
	s.metrics = fasthttpadaptor.NewFastHTTPHandler(exposition(s.status, cfg.Log))
	endpoints, err := endpointsOf(cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range endpoints {
		if p.network == "unix" {
			s.commandSocket = p.address
		}
	}
	for _, p := range endpoints {
		l, err := p.listen()
		switch {
		case err == nil:
			s.serve(p, l)
		case inUse(err) && p.patient:
			cfg.Log.Warn("admin address in use", "address", p.address)
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

// retryListen is the interval of retries for an address in use.
const retryListen = time.Second

// await serves at an endpoint as soon as it is free.
func (s *Server) await(p endpoint) {
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

func (s *Server) serve(p endpoint, l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = l.Close()
		return
	}
	s.listeners = append(s.listeners, l)
	s.cfg.Log.Info("admin started", "address", p.name(l))
	s.serving.Go(func() { _ = s.http.Serve(guarded{l, p.loopback(l), s.commandSocket, s.quit, s.cfg.Log}) })
}

// Address returns the first listening address, or "".
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) == 0 {
		return ""
	}
	return s.listeners[0].Addr().String()
}

// Stop closes everything. It does not wait for requests in progress.
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
		text(ctx, fasthttp.StatusMethodNotAllowed, "read-only: use GET or HEAD")
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
		// The whole profile is in memory before it is sent, and a trace grows by megabytes a second.
		if n, err := strconv.ParseFloat(string(ctx.QueryArgs().Peek("seconds")), 64); err == nil && !(n <= 60) {
			text(ctx, fasthttp.StatusBadRequest, "seconds: at most 60")
			return
		}
		pprofhandler.PprofHandler(ctx)
	default:
		text(ctx, fasthttp.StatusNotFound, "not found; use /, /metrics, /status, /healthz, /readyz, /debug/pprof/")
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

// drain makes an origin get no new sessions, or some again: POST /drain?origin=NAME&on=true|false.
func (s *Server) drain(ctx *fasthttp.RequestCtx) {
	origin, on := string(ctx.QueryArgs().Peek("origin")), string(ctx.QueryArgs().Peek("on"))
	switch {
	case !ctx.IsPost():
		ctx.Response.Header.Set("Allow", "POST")
		text(ctx, fasthttp.StatusMethodNotAllowed, "this is a command: use POST")
		return
	case s.cfg.DrainNode == nil:
		text(ctx, fasthttp.StatusNotImplemented, "this edge cannot drain origins")
		return
	case on != "true" && on != "false":
		text(ctx, fasthttp.StatusBadRequest, "on: must be true or false")
		return
	}
	if err := s.cfg.DrainNode(origin, on == "true"); err != nil {
		text(ctx, fasthttp.StatusNotFound, err.Error())
		return
	}
	text(ctx, fasthttp.StatusOK, origin+": drain "+on)
}
