package handshake

import "io"

// stepped is a connection for a tls.Conn whose other end is stepped when the tls.Conn reads.
type stepped struct {
	wire
	step     func(in []byte) (used int, out []byte)
	sent     []byte
	received []byte
}

func (s *stepped) Write(p []byte) (int, error) {
	s.sent = append(s.sent, p...)
	return len(p), nil
}

func (s *stepped) Read(p []byte) (int, error) {
	for len(s.received) == 0 {
		used, out := s.step(s.sent)
		if used == 0 && len(out) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		s.sent = s.sent[used:]
		s.received = append(s.received, out...)
	}
	n := copy(p, s.received)
	s.received = s.received[n:]
	return n, nil
}
