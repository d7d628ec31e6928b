package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxEventsPerTurn bounds a turn, so that replies do not wait while more and more comes in.
	maxEventsPerTurn = 64
	// maxEvents is how many events wait for the engine before readers do.
	maxEvents = 256
	// acceptPause is how long accepting rests after it failed, for want of descriptors most likely.
	acceptPause = 100 * time.Millisecond
	// stopTime is how long Run waits for the last bytes to go out.
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
	wake     chan struct{} // a turn is asked for
	done     chan struct{} // closed when the engine takes no more events
	readers  sync.WaitGroup
	writers  sync.WaitGroup

	// The engine's.
	links    map[*Link]struct{}
	dirty    []*Link // links with a batch
	draining bool
	stats    Stats

	door                                     door
	accepted, bytesOut, writes, acceptErrors atomic.Int64
	published                                published
}

// event is what the engine is told.
type event struct {
	kind  eventKind
	link  *Link
	batch *batch
	fault Fault
	call  func()
}

type eventKind uint8

const (
	eventNone   eventKind = iota // a turn all the same: somebody asked for it
	eventOpened                  // a link has been welcomed
	eventBatch                   // it brought frames
	eventRoom                    // it is not full any more
	eventClosed                  // nothing more will come from it
	eventCall                    // call is to be called
)

// Listen opens the listening socket; Run serves it. The port is not shared: SO_REUSEPORT is not set, so that a second
// origin on the same port fails here instead of taking half of the links.
func Listen(cfg Config, h Handler) (*Server, error) { return listen(cfg, h, systemClock()) }

func listen(cfg Config, h Handler, c clock) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, log: cfg.Log, handler: h, listener: l, clock: c,
		events: make(chan event, maxEvents),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		links:  make(map[*Link]struct{}),
		door:   newDoor(&cfg),
	}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run is the engine's goroutine: it serves until ctx is done, then sends what has been replied and closes all links. It
// is called once.
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

// Drain asks all edges, those that come later as well, to open no new sessions here. Any goroutine may call it, while
// Run runs.
func (s *Server) Drain() {
	s.Do(func() {
		s.draining = true
		for l := range s.links {
			if l.present {
				l.control("drain\n")
			}
		}
	})
}

// Do calls f on the engine's goroutine and returns when it has: false, without calling it, when Run has ended. It must
// not be called on the engine's goroutine itself.
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

// Wake asks for a turn, at the end of which Handler.Idle is called: the way in for a Handler that is answered elsewhere
// than on the engine's goroutine. It never blocks, and any goroutine may call it; turns asked for before one has begun
// are one.
func (s *Server) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// send tells the engine something; false when it takes nothing any more.
func (s *Server) send(ev event) bool {
	select {
	case s.events <- ev:
		return true
	case <-s.done:
		return false
	}
}

// accept is the accepting goroutine. A failure is never the end of it: descriptors may come free again.
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
				s.log.Warn("cannot accept a link", "error", err, "since_last", n)
			}
			select {
			case <-time.After(acceptPause):
			case <-s.done:
			}
			continue
		}
		s.accepted.Add(1)
		now := s.clock.now()
		l := &Link{server: s, conn: conn, from: addressOf(conn), since: now}
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

// turn deals with an event and those that wait behind it, and sends what was replied.
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
	for i := 0; i < len(s.dirty); i++ { // flushing may end a link, which may lead to more replies
		l := s.dirty[i]
		s.dirty[i] = nil
		l.sendFence()
		l.dirty = false
		l.flush()
	}
	s.dirty = s.dirty[:0]
}

// tick does what is due by the clock.
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

// stop sends what there is and closes all links.
func (s *Server) stop() {
	s.listener.Close()
	for _, l := range s.door.close() {
		l.sendAway()
	}
	s.flush()
	for l := range s.links {
		l.end(FaultNone)
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
				ev.link.end(FaultNone)
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
