package main

import (
	"context"
	"errors"
	"fmt"
)

// server is one that is measured, and what all rounds have come to.
type server struct {
	kind
	bytes, sockets []float64          // for each held request
	slopes         []float64          // bytes for each held request beyond the first ninth
	ways           [][]measured       // by ways: new connections by TLS
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
	var faults []error // the other figures are still good
	for _, n := range o.connections {
		m, err := r.ask(ctx, o, b, s.path, "keep.lua", n)
		if err != nil {
			faults = append(faults, fmt.Errorf("%d connections: %w", n, err))
			continue
		}
		if s.plain == nil {
			s.plain = map[int][]measured{}
		}
		s.plain[n] = append(s.plain[n], m)
	}
	if s.tls {
		return errors.Join(append(faults, s.coming(ctx, r, o, b))...)
	}
	m, err := r.ask(ctx, o, b, s.path, "close.lua", freshConnections)
	if err == nil {
		s.fresh = append(s.fresh, m)
	}
	return errors.Join(append(faults, err)...)
}

// coming measures new connections by TLS, with each kind of handshake.
func (s *server) coming(ctx context.Context, r *running, o *options, b *back) error {
	if s.ways == nil {
		s.ways = make([][]measured, len(ways))
	}
	for i, w := range ways {
		m, err := r.come(ctx, o, b, s.path, w)
		if err != nil {
			return err
		}
		s.ways[i] = append(s.ways[i], m)
	}
	return nil
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
	h, few := new(holders), max(n/9, 1)
	defer func() { _ = b.release() }()
	if err := r.hold(ctx, &s.kind, b, h, few); err != nil {
		return err
	}
	defer h.close()
	first := usageOf(r.pids())
	if err := r.hold(ctx, &s.kind, b, h, n); err != nil {
		return err
	}
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
	if n > few {
		s.slopes = append(s.slopes, float64(after.anon-first.anon)/float64(n-few))
	}
	s.sockets = append(s.sockets, float64(after.sockets-before.sockets)/float64(n))
	s.beside = append(s.beside, m)
	return nil
}
