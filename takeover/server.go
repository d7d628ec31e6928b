package takeover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"megaphone/internal/unixsocket"
	"megaphone/loop"
)

// Offer is what a process hands over.
type Offer struct {
	Listeners []loop.Listener // with files, which are closed after they have been sent
	Links, Up int             // links to origins, and the number that is up
	Tickets   [][]byte        // keys of session tickets, so that clients can resume; see socketMode
}

// Server is the predecessor's side: it waits for a successor.
type Server struct {
	path     string
	listener *net.UnixListener
	offer    func() (Offer, error)
	patience time.Duration
	log      *slog.Logger
	found    chan *Successor
	open     context.Context
	close    context.CancelFunc
	done     sync.WaitGroup
	offered  bool // the served successor has all listeners; only accept uses it until done
}

// Successor is a process that asks for our listeners, and then serves beside us until we leave.
type Successor struct {
	PID      int
	Keeps    []string // the listeners that it has adopted, as they were offered
	conn     *net.UnixConn
	state    PredecessorState
	path     string // where it will wait for its own successor
	confirms bool   // it confirms that it is alone
	events   chan Event
}

// socketMode admits only the edge's own user, because a client of the socket gets the listeners.
const socketMode = 0o600

// Listen waits for successors at path, one after the other. It calls offer for each, on a goroutine of the server.
func Listen(path string, patience time.Duration, log *slog.Logger, offer func() (Offer, error)) (*Server, error) {
	l, err := unixsocket.Listen("unixpacket", path, socketMode)
	if errors.Is(err, unixsocket.ErrLive) {
		err = fmt.Errorf("%w, or start with --takeover if that process is the edge to replace", err)
	}
	if err != nil {
		return nil, fmt.Errorf("takeover-socket: %s: %w", path, err)
	}
	s := &Server{path: path, listener: l, offer: offer, patience: patience, log: log, found: make(chan *Successor)}
	s.open, s.close = context.WithCancel(context.Background())
	s.done.Add(1)
	go s.accept()
	return s, nil
}

// Found delivers a successor that serves. It waits for Handle(Served).
func (s *Server) Found() <-chan *Successor { return s.found }

// Close stops waiting, releases the path, and hangs up on a successor that Found has not delivered. It reports whether
// that successor has copies of all listeners, and therefore continues with them.
func (s *Server) Close() (offered bool) {
	s.close()
	s.listener.Close()
	s.done.Wait()
	return s.offered
}

func (s *Server) accept() {
	defer s.done.Done()
	for {
		c, err := s.listener.AcceptUnix()
		if s.open.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			s.log.Warn("takeover accept failed", "error", err)
			select {
			case <-s.open.Done():
				return
			case <-time.After(time.Second): // most likely out of descriptors
			}
			continue
		}
		s.serve(c)
	}
}

// serve handles one process that wants to take over.
func (s *Server) serve(c *net.UnixConn) {
	next := &Successor{conn: c, path: s.path, events: make(chan Event, 1)}
	interrupt := context.AfterFunc(s.open, func() { c.Close() })
	defer interrupt()
	err := s.asked(next)
	if err == nil {
		next.Handle(Asked, func(Action) { err = s.offerTo(next) })
	}
	if err == nil {
		interrupt()
		select {
		case s.found <- next:
			s.offered = false
			return
		case <-s.open.Done():
		}
	}
	if s.open.Err() != nil { // Close was called: its caller handles the other actions of Ended
		next.Handle(Ended, func(Action) {})
		c.Close()
		return
	}
	s.log.Warn("takeover failed, still serving", "pid", next.PID, "reason", err)
	s.offered = false
	if next.state == Available {
		_ = send(c, packet{Error: err.Error()})
		c.Close()
		return
	}
	e := Failed
	if errors.Is(err, errGone) {
		e = Gone
	}
	next.Handle(e, func(Action) { _ = send(c, packet{Error: err.Error()}) })
}

// asked reads the request and identifies its sender.
func (s *Server) asked(next *Successor) (err error) {
	if next.PID, err = peer(next.conn); err != nil {
		return err
	}
	s.log.Info("takeover requested", "pid", next.PID)
	ask, _, err := receive(next.conn, stepTimeout)
	if err == nil && ask.Version != version {
		err = fmt.Errorf("the successor speaks version %d, this process %d", ask.Version, version)
	}
	return err
}

// offerTo sends everything, and waits until the successor serves.
func (s *Server) offerTo(next *Successor) error {
	o, err := s.offer()
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range o.Listeners {
			closeAll(l.Files)
		}
	}()
	for _, l := range o.Listeners {
		for rest := l.Files; len(rest) > 0; {
			n := min(len(rest), maxPacketSockets)
			if err := send(next.conn, packet{Address: l.Address}, rest[:n]...); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	if err := send(next.conn, packet{Offer: &offer{o.Links, o.Up, o.Tickets}}); err != nil {
		return err
	}
	s.offered = true
	answer, _, err := receive(next.conn, s.patience)
	switch {
	case err != nil:
		return err
	case !answer.Serving:
		return errors.New("unexpected packet from the successor, which should serve")
	}
	next.Keeps, next.confirms = answer.Keeps, answer.Confirm
	return nil
}

// Handle takes the next step. It sends and hangs up itself, and calls do for the other actions, in order.
func (n *Successor) Handle(e Event, do func(Action)) PredecessorState {
	var todo []Action
	n.state, todo = n.state.next(e)
	for _, a := range todo {
		switch a {
		case SendLeaving: // if this fails, reading will give the reason
			_ = send(n.conn, packet{Leaving: true})
			go n.listen()
		case HangUp:
			n.conn.Close()
		default:
			do(a)
		}
	}
	return n.state
}

// pathPoll is the interval of checks for the path of a successor that does not confirm.
const pathPoll = 20 * time.Millisecond

// listen waits until the successor confirms that it is alone, or has gone. A successor of version 0.1 does not confirm,
// but it binds its path as soon as it knows, and exits if it cannot.
func (n *Successor) listen() {
	wait := forever
	if !n.confirms {
		wait = pathPoll
	}
	for {
		got, files, err := receive(n.conn, wait)
		closeAll(files)
		switch e := eventOf(err, Confirmed); {
		case e == Gone:
			n.events <- Gone
			return
		case err == nil && got.Alone, !n.confirms && unixsocket.Live(n.path):
			n.events <- Confirmed
			return
		}
	}
}

// Events delivers the fate of the successor after Handle(Served): Confirmed or Gone.
func (n *Successor) Events() <-chan Event { return n.events }
