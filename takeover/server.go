package takeover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"megaphone/loop"
	"megaphone/unixsocket"
)

// Offer is what a process has to give.
type Offer struct {
	Listeners []loop.Listener // with files, which are closed when they have been sent
	Links, Up int             // links to origins, and how many of them are up
}

// Server is the predecessor's side: it waits for a successor.
type Server struct {
	listener *net.UnixListener
	offer    func() (Offer, error)
	patience time.Duration
	log      *slog.Logger
	found    chan *Successor
	open     context.Context
	close    context.CancelFunc
	done     sync.WaitGroup
}

// Successor is a process that serves, and waits for us to leave.
type Successor struct {
	PID   int
	Keeps []string // the listeners that it has adopted, as they were offered
	conn  *net.UnixConn
}

// socketMode admits the edge's own user only, because a client of the socket gets the listeners.
const socketMode = 0o600

// Listen waits for successors at path, one after the other. offer is called on a goroutine of the server's, for each.
func Listen(path string, patience time.Duration, log *slog.Logger, offer func() (Offer, error)) (*Server, error) {
	l, err := unixsocket.Listen("unixpacket", path, socketMode)
	if errors.Is(err, unixsocket.ErrLive) {
		err = fmt.Errorf("%w; if that process is an edge to be replaced, start with --takeover", err)
	}
	if err != nil {
		return nil, fmt.Errorf("takeover-socket: %s: %w", path, err)
	}
	s := &Server{listener: l, offer: offer, patience: patience, log: log, found: make(chan *Successor)}
	s.open, s.close = context.WithCancel(context.Background())
	s.done.Add(1)
	go s.accept()
	return s, nil
}

// Found delivers a successor that serves. It waits for Leave.
func (s *Server) Found() <-chan *Successor { return s.found }

// Close stops waiting and frees the path.
func (s *Server) Close() {
	s.close()
	s.listener.Close()
	s.done.Wait()
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
			s.log.Warn("takeover: cannot accept", "error", err)
			select {
			case <-s.open.Done():
				return
			case <-time.After(time.Second): // for want of descriptors, most likely
			}
			continue
		}
		s.serve(c)
	}
}

// serve deals with one process that wants to take over.
func (s *Server) serve(c *net.UnixConn) {
	pid, err := peer(c)
	interrupt := context.AfterFunc(s.open, func() { c.Close() })
	defer interrupt()
	var keeps []string
	if err == nil {
		s.log.Info("takeover: a successor asks for the listeners", "pid", pid)
		keeps, err = s.offerTo(c)
	}
	if err != nil {
		s.log.Warn("takeover: it came to nothing; we go on", "pid", pid, "reason", err)
		_ = send(c, packet{Error: err.Error()})
		c.Close()
		return
	}
	interrupt()
	select {
	case s.found <- &Successor{PID: pid, Keeps: keeps, conn: c}:
	case <-s.open.Done():
		c.Close()
	}
}

// offerTo sends everything, and waits until the successor serves.
func (s *Server) offerTo(c *net.UnixConn) (keeps []string, err error) {
	ask, _, err := receive(c, stepTimeout)
	if err != nil {
		return nil, err
	}
	if ask.Version != Version {
		return nil, fmt.Errorf("the successor speaks version %d, this one %d", ask.Version, Version)
	}
	o, err := s.offer()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, l := range o.Listeners {
			closeAll(l.Files)
		}
	}()
	for _, l := range o.Listeners {
		for rest := l.Files; len(rest) > 0; {
			n := min(len(rest), maxPacketSockets)
			if err := send(c, packet{Address: l.Address}, rest[:n]...); err != nil {
				return nil, err
			}
			rest = rest[n:]
		}
	}
	if err := send(c, packet{Offer: &offer{o.Links, o.Up}}); err != nil {
		return nil, err
	}
	answer, _, err := receive(c, s.patience)
	switch {
	case err != nil:
		return nil, err
	case !answer.Serving:
		return nil, errors.New("the successor said something else than that it serves")
	}
	return answer.Keeps, nil
}

// Leave tells the successor that it serves alone from now on. An error says that it is not there any more, so that we
// had better stay.
func (s *Successor) Leave() error {
	defer s.conn.Close()
	return send(s.conn, packet{Leaving: true})
}
