package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"megaphone/internal/unixsocket"
	"megaphone/loop"
)

// ErrNobody is returned if no process waits for a successor.
var ErrNobody = errors.New("no process to take over from")

// ErrExited is an ErrNobody. The ports may still be in use for a moment, until the process has closed all of them.
var ErrExited = fmt.Errorf("%w: it has exited", ErrNobody)

// Predecessor is the process to be replaced.
type Predecessor struct {
	PID    int
	Offer  Offer
	path   string
	conn   *net.UnixConn
	state  SuccessorState
	events chan Event
	said   error // the reason of the last event; written before it is delivered
}

// askAttempts bounds the retries of Ask, each after the process that was asked exited.
const askAttempts = 5

// Ask asks the process that waits at path for its listeners. It returns ErrNobody if there is none, and ErrExited if it
// exited while it was asked.
func Ask(path string) (*Predecessor, error) {
	none := ErrNobody
	for range askAttempts {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, none
		}
		if err != nil {
			return nil, fmt.Errorf("takeover: %w", err)
		}
		p := &Predecessor{path: path, conn: c, events: make(chan Event, 1)}
		if p.PID, err = peer(c); err == nil {
			err = p.ask()
		}
		again := false
		_, _ = p.Handle(p.event(err, Offered), func(do Action) error {
			again = again || do == AskAgain
			return nil
		})
		switch {
		case err == nil:
			go p.listen()
			return p, nil
		case !again:
			return nil, fmt.Errorf("takeover: %w", err)
		}
		none = ErrExited
	}
	return nil, fmt.Errorf("takeover: %w", errGone)
}

// eventOf returns the event for an error of receive, or fine if there is none.
func eventOf(err error, fine Event) Event {
	var refused refusal
	switch {
	case err == nil:
		return fine
	case errors.As(err, &refused):
		return Refused
	case errors.Is(err, errGone):
		return Gone
	default:
		return Failed
	}
}

// event is like eventOf, but a refusal counts only if the predecessor is there to continue: it may have exited since.
func (p *Predecessor) event(err error, fine Event) Event {
	e := eventOf(err, fine)
	if e == Refused && !unixsocket.Live(p.path) {
		return Gone
	}
	return e
}

func (p *Predecessor) ask() error {
	_ = send(p.conn, packet{Version: version}) // reading will give its fate
	for {
		got, files, err := receive(p.conn, stepTimeout)
		switch {
		case err != nil:
			return err
		case got.Offer != nil:
			p.Offer.Links, p.Offer.Up, p.Offer.Tickets = got.Offer.Links, got.Offer.Up, got.Offer.Tickets
			return nil
		}
		p.add(got.Address, files)
	}
}

func (p *Predecessor) add(address string, files []*os.File) {
	l := &p.Offer.Listeners
	i := slices.IndexFunc(*l, func(have loop.Listener) bool { return have.Address == address })
	if i < 0 {
		i = len(*l)
		*l = append(*l, loop.Listener{Address: address})
	}
	(*l)[i].Files = append((*l)[i].Files, files...)
}

// listen reads packets of the predecessor until one decides the hand-over. Later versions may send more.
func (p *Predecessor) listen() {
	for {
		got, files, err := receive(p.conn, forever)
		closeAll(files)
		e := p.event(err, Left)
		if err == nil && !got.Leaving || e == Failed {
			continue
		}
		p.said = err
		p.events <- e
		return
	}
}

// Reason returns the predecessor's reason after Events has delivered Refused.
func (p *Predecessor) Reason() error { return p.said }

// Events delivers the predecessor's one packet that ends the hand-over: Left, Refused or Gone.
func (p *Predecessor) Events() <-chan Event { return p.events }

// Late returns the event for a failed step of this process: Failed if the predecessor is there to continue, else the
// last event from it.
func (p *Predecessor) Late() Event {
	if hungUp(p.conn) {
		return <-p.events
	}
	return Failed
}

// Handle takes the next step. It sends and hangs up itself, and calls do for the other actions, in order, up to the
// first error. keeps are the listeners that this process keeps, for SendServing.
func (p *Predecessor) Handle(e Event, do func(Action) error, keeps ...string) (SuccessorState, error) {
	var todo []Action
	p.state, todo = p.state.next(e)
	for _, a := range todo {
		switch a {
		case SendServing: // if this fails, reading will give the reason
			_ = send(p.conn, packet{Serving: true, Keeps: keeps, Confirm: true})
		case SendAlone: // a predecessor of version 0.1 does not wait for it
			_ = send(p.conn, packet{Alone: true})
		case HangUp:
			p.Close()
		default:
			if err := do(a); err != nil {
				return p.state, err
			}
		}
	}
	return p.state, nil
}

// Drop closes offered listeners that were not taken, because an open socket without a server must not remain.
func (p *Predecessor) Drop() {
	for _, l := range p.Offer.Listeners {
		closeAll(l.Files)
	}
}

// Close ends the conversation.
func (p *Predecessor) Close() {
	p.Drop()
	p.conn.Close()
}
