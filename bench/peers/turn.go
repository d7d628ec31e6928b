package main

import (
	"context"
	"fmt"
)

// server is one that is measured, and what all rounds have come to.
type server struct {
	kind
	bytes, sockets []float64          // for each held request
	plain          map[int][]measured // by the number of connections
	beside         []measured         // with besideConnections, while others are held
	fresh          []measured         // with a new connection for each request
	wrong          []string
}

// besideConnections is how many connections ask while requests are held: with 9,000 of those a proxy has descriptors
// for some hundred others.
const besideConnections = 256

// freshConnections is how many new connections there are at a time.
const freshConnections = 64

// turn is the server's part of a round: what it holds first, as nothing has made its memory grow by then; then, started
// anew, how fast it is.
func (s *server) turn(ctx context.Context, o *options, b *back) error {
	if err := s.holding(ctx, o, b); err != nil {
		return err
	}
	if s.alone {
		return nil // it is another's again
	}
	r, err := s.start(ctx, o, b)
	if err != nil {
		return err
	}
	defer r.stop()
	for _, n := range o.connections {
		m, err := r.ask(ctx, o, b, s.path, "keep.lua", n)
		if err != nil {
			return err
		}
		if s.plain == nil {
			s.plain = map[int][]measured{}
		}
		s.plain[n] = append(s.plain[n], m)
	}
	m, err := r.ask(ctx, o, b, s.path, "close.lua", freshConnections)
	if err == nil {
		s.fresh = append(s.fresh, m)
	}
	return err
}

// holding has the server hold requests, looks at it, and lets others ask meanwhile.
func (s *server) holding(ctx context.Context, o *options, b *back) error {
	r, err := s.start(ctx, o, b)
	if err != nil {
		return err
	}
	defer r.stop()
	n := s.holds(o)
	before := usageOf(r.pids())
	h, err := r.hold(ctx, &s.kind, b, n)
	if err != nil {
		return err
	}
	defer h.close()
	defer func() { _ = b.release() }()
	after := usageOf(r.pids())
	m, err := r.ask(ctx, o, b, s.path, "keep.lua", besideConnections)
	if err != nil {
		return err
	}
	if lost, what := h.answered(); lost > 0 {
		err := fmt.Errorf("%d of %d requests were not held to the end, but answered: %s", lost, n, what)
		if lost > n/100 {
			return err
		}
		s.wrong = append(s.wrong, err.Error()) // the figures are still good
	}
	s.bytes = append(s.bytes, float64(after.anon-before.anon)/float64(n))
	s.sockets = append(s.sockets, float64(after.sockets-before.sockets)/float64(n))
	s.beside = append(s.beside, m)
	return nil
}
