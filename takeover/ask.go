package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"megaphone/loop"
)

// ErrNobody says that no process waits for a successor.
var ErrNobody = errors.New("nobody to take over from")

// Predecessor is the process that is to be followed.
type Predecessor struct {
	PID   int
	Offer Offer
	conn  *net.UnixConn
}

// Ask asks the process that waits at path for its listeners.
func Ask(path string) (*Predecessor, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	p := &Predecessor{conn: c}
	if p.PID, err = peer(c); err == nil {
		err = p.ask()
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return p, nil
}

func (p *Predecessor) ask() error {
	if err := send(p.conn, packet{Version: Version}); err != nil {
		return err
	}
	for {
		got, files, err := receive(p.conn, stepTimeout)
		switch {
		case err != nil:
			return err
		case got.Offer != nil:
			p.Offer.Links, p.Offer.Up = got.Offer.Links, got.Offer.Up
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

// Serving tells the predecessor that we serve and which listeners we keep, and waits until it leaves. After an error it
// goes on, so we must not.
func (p *Predecessor) Serving(keeps []string) error {
	if err := send(p.conn, packet{Serving: true, Keeps: keeps}); err != nil {
		return fmt.Errorf("takeover: %w", err)
	}
	got, _, err := receive(p.conn, stepTimeout)
	if err == nil && !got.Leaving {
		err = errors.New("the predecessor said something else than that it leaves")
	}
	if err != nil {
		return fmt.Errorf("takeover: %w", err)
	}
	return nil
}

// Drop closes what was offered and not taken: a socket that nobody serves must not be kept open.
func (p *Predecessor) Drop() {
	for _, l := range p.Offer.Listeners {
		closeAll(l.Files)
	}
}

// Close ends the talk.
func (p *Predecessor) Close() {
	p.Drop()
	p.conn.Close()
}
