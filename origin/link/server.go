package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxEventsPerTurn bounds a turn, so that replies are not delayed while input keeps coming.
	maxEventsPerTurn = 64
	// maxEvents is the number of events that may queue for the engine before readers block.
	maxEvents = 256
	// acceptPause is the pause after a failed accept, which usually means that descriptors are short.
	acceptPause = 100 * time.Millisecond
	// stopTime is how long Run waits for the last bytes to be sent.
	stopTime = 1500 * time.Millisecond
)

// Server listens for edges.
type Server struct {
	cfg      Config
	log      *slog.Logger
	handler  Handler
	listener net.Listener
	clock    clock
	events   chan event
	wake     chan struct{} // requests a turn
	done     chan struct{} // closed when the engine accepts no more events
	instance string        // random, see Config.OwnsSessions
	started  int64         // ms
	readers  sync.WaitGroup
	writers  sync.WaitGroup

	// Owned by the engine.
	links    map[*edgeLink]struct{}
	dirty    []*edgeLink // links with a batch
	draining bool
	stats    Stats

	door                                     door
	accepted, bytesOut, writes, acceptErrors atomic.Int64
	published                                published
}

// event is a message to the engine.
type event struct {
	kind  eventKind
	link  *edgeLink
	batch *batch
	fault fault
	call  func()
}

type eventKind uint8

const (
	eventNone   eventKind = iota // a requested turn without an event
	eventOpened                  // a link has been welcomed
	eventBatch                   // a link has received frames
	eventRoom                    // a link is no longer full
	eventClosed                  // a link will receive nothing more
	eventCall                    // run call
)

// Listen opens the listening socket, and Run serves it. It does not set SO_REUSEPORT. A second origin on the same port
// therefore fails here instead of receiving half of the links.
func Listen(cfg Config, h Handler) (*Server, error) { return listen(cfg, h, systemClock()) }

func listen(cfg Config, h Handler, c clock) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	started := c.now()
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	if cfg.TLS != nil {
		l = tls.NewListener(l, cfg.TLS)
	}
	return &Server{
		cfg: cfg, log: cfg.Log, handler: h, listener: l, clock: c,
		events: make(chan event, maxEvents),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),

		instance: rand.Text(), started: started,
		links: make(map[*edgeLink]struct{}),
		door:  newDoor(&cfg),
	}, nil
}

// Addr returns the listening address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run is the engine's goroutine. It serves until ctx is done, then sends the pending replies and closes all links. Call
// it once.
func (s *Server) Run(ctx context.Context) error {
	s.handler.Tick(s.clock.now())
	ticks, stopTicks := s.clock.ticks()
	defer stopTicks()
	s.readers.Add(1)
	go s.accept()
	for {
		select {
		case ev := <-s.events:
			s.turn(ev)
		case <-s.wake:
			s.turn(event{kind: eventNone})
		case <-ticks:
			s.tick()
		case <-ctx.Done():
			s.stop()
			return nil
		}
	}
}

// drain asks all present and future edges to open no new sessions here. Any goroutine may call it while Run runs.
func (s *Server) drain() {
	s.Do(func() {
		s.draining = true
		for l := range s.links {
			if l.present {
				l.control("drain\n")
			}
		}
	})
}

// Do runs f on the engine's goroutine and returns when f has returned. If Run has ended it returns false without
// calling f. It must not be called on the engine's goroutine.
func (s *Server) Do(f func()) bool {
	called := make(chan struct{})
	if !s.send(event{kind: eventCall, call: func() { f(); close(called) }}) {
		return false
	}
	select {
	case <-called:
		return true
	case <-s.done:
		return false
	}
}

// Wake requests a turn. At its end the engine calls Handler.Idle. A Handler uses it if its answers arrive on
// other goroutines. It never blocks, and any goroutine may call it. Requests made before a turn begins share that turn.
func (s *Server) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// send passes an event to the engine. It returns false if the engine accepts no more events.
func (s *Server) send(ev event) bool {
	select {
	case s.events <- ev:
		return true
	case <-s.done:
		return false
	}
}

// accept is the accepting goroutine. A failure does not end it, because descriptors may become free again.
func (s *Server) accept() {
	defer s.readers.Done()
	var failures limiter
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.acceptErrors.Add(1)
			if n, ok := failures.due(s.clock.now()); ok {
				s.log.Warn("accept failed", "error", err, "since_last", n)
			}
			select {
			case <-time.After(acceptPause):
			case <-s.done:
			}
			continue
		}
		s.accepted.Add(1)
		now := s.clock.now()
		l := &edgeLink{server: s, conn: conn, from: addressOf(conn), since: now}
		l.heardAt.Store(now)
		goes, ok := s.door.enter(l)
		if !ok {
			conn.Close()
			continue
		}
		if goes != nil {
			goes.sendAway()
		}
		s.readers.Add(1)
		go l.read()
	}
}

// turn processes an event and those queued behind it, then sends the replies.
func (s *Server) turn(ev event) {
	s.handler.Tick(s.clock.now())
	s.handle(ev)
	for n := 1; n < maxEventsPerTurn; n++ {
		select {
		case ev = <-s.events:
			s.handle(ev)
			continue
		default:
		}
		break
	}
	s.flush()
}

func (s *Server) handle(ev event) {
	switch l := ev.link; ev.kind {
	case eventOpened:
		l.opened()
		s.writers.Add(1)
		go l.write()
	case eventBatch:
		l.take(ev.batch)
	case eventRoom:
		l.resume()
	case eventClosed:
		l.end(ev.fault)
		delete(s.links, l)
	case eventCall:
		ev.call()
	}
}

// flush ends a turn.
func (s *Server) flush() {
	s.handler.Idle()
	for i := 0; i < len(s.dirty); i++ { // flushing may end a link, which may cause more replies
		l := s.dirty[i]
		s.dirty[i] = nil
		l.sendFence()
		l.dirty = false
		l.flush()
	}
	s.dirty = s.dirty[:0]
}

// tick does the periodic work.
func (s *Server) tick() {
	now := s.clock.now()
	s.handler.Tick(now)
	for _, l := range s.door.late(now, s.cfg.ProofTimeout.Milliseconds()) {
		l.wakeReader()
	}
	for l := range s.links {
		l.checkLiveness(now)
	}
	s.flush()
	s.publish()
}

// stop sends the pending replies and closes all links.
func (s *Server) stop() {
	s.listener.Close()
	for _, l := range s.door.close() {
		l.sendAway()
	}
	s.flush()
	for l := range s.links {
		l.end(faultNone)
	}
	finished := make(chan struct{})
	go func() {
		s.readers.Wait()
		s.writers.Wait()
		close(finished)
	}()
	late := time.NewTimer(stopTime)
	defer late.Stop()
	for {
		select {
		case ev := <-s.events:
			s.handle(ev)
			if ev.kind == eventOpened {
				ev.link.end(faultNone)
			}
			continue
		case <-late.C:
			for l := range s.links {
				l.conn.Close()
			}
			continue
		case <-finished:
		}
		break
	}
	close(s.done)
	s.publish()
}
