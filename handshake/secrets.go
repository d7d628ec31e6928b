package handshake

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"

	"megaphone/record"
)

const (
	maxSecretBytes = 48 // the master secret, and a traffic secret with SHA-384
	randomBytes    = 32
)

// secret is a secret of up to maxSecretBytes.
type secret struct {
	b [maxSecretBytes]byte
	n int
}

func (s *secret) set(b []byte) { s.n = copy(s.b[:], b) }

func (s *secret) bytes() []byte { return s.b[:s.n] }

// secrets is what a handshake reveals.
type secrets struct {
	client, server secret // TLS 1.3: traffic secrets
	master         secret // TLS 1.2
	unwrapped      secret // the master secret of the session that is resumed
	in, out        flow
}

func (s *secrets) wipe() { *s = secrets{} }

// flow is what passes in one direction.
type flow struct {
	hello  [4 + 2 + randomBytes]byte // the start of the first message: type, length, version, random
	have   int                       // of hello
	sealed uint64                    // records behind ChangeCipherSpec: in TLS 1.2, those with sequence numbers
	behind bool

	finished, finishedParts int // of the sealed records those with handshake messages: bytes, records
}

// see takes note of a record.
func (f *flow) see(p []byte) {
	switch {
	case f.behind:
		if f.sealed++; p[0] == typeHandshake {
			f.finished += len(p) - headerBytes
			f.finishedParts++
		}
	case p[0] == typeChangeCipherSpec:
		f.behind = true
	case p[0] == typeHandshake:
		f.have += copy(f.hello[f.have:], p[headerBytes:])
	}
}

// random returns the random of the first hello. A second one, after HelloRetryRequest, occurs in TLS 1.3 only, whose
// keys need no random.
func (f *flow) random() []byte { return f.hello[len(f.hello)-randomBytes:] }

// The only sealed handshake message of TLS 1.2 is Finished (RFC 5246 section 7.4.9). A record adds its overhead to it.
const (
	finishedBytes  = 4 + 12
	gcmOverhead    = 8 + 16 // a part of the nonce, and the tag (RFC 5288 section 3)
	chachaOverhead = 16     // RFC 7905 section 2
)

// onlyFinished reports whether nothing is behind Finished in its record, in TLS 1.2. crypto/tls checks that when it
// reads the next record, but package record reads that one. For TLS 1.3 it has checked it in the handshake.
func (f *flow) onlyFinished(suite uint16) bool {
	overhead := gcmOverhead
	switch suite {
	case tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		overhead = chachaOverhead
	}
	return f.finished == finishedBytes+f.finishedParts*overhead
}

// of returns the secrets of w's handshake.
func (s *secrets) of(w *Worker) (h record.Handshake, err error) {
	client := w.config.client
	h = record.Handshake{Suite: w.state.CipherSuite, Client: client}
	switch w.state.Version {
	case tls.VersionTLS13:
		if s.client.n == 0 || s.server.n == 0 {
			return h, errSecrets
		}
		h.ClientSecret, h.ServerSecret = s.client.bytes(), s.server.bytes()
		if !client {
			h.Sealed = w.tickets
		}
		return h, nil
	case tls.VersionTLS12:
		master := &s.master
		if w.state.DidResume {
			master = &s.unwrapped
			if client && w.config.session != nil {
				master = &w.config.session.master
			}
		}
		mine, theirs := s.out.random(), s.in.random()
		if !client {
			mine, theirs = theirs, mine
		}
		if master.n == 0 || s.in.have < len(s.in.hello) || s.out.have < len(s.out.hello) {
			return h, errSecrets
		}
		if !s.in.onlyFinished(h.Suite) {
			return h, ErrBehindFinished
		}
		h.Master, h.ClientRandom, h.ServerRandom = master.bytes(), mine, theirs
		h.Opened, h.Sealed = s.in.sealed, s.out.sealed
		return h, nil
	}
	return h, errSecrets
}

// keyLog is the worker as the KeyLogWriter of its configuration: a line for each secret.
type keyLog Worker

func (k *keyLog) Write(line []byte) (int, error) {
	label, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	_, text, _ := bytes.Cut(rest, []byte(" "))
	var b [maxSecretBytes]byte
	if hex.DecodedLen(len(text)) > len(b) {
		return len(line), nil
	}
	n, err := hex.Decode(b[:], text)
	if err != nil {
		return 0, err
	}
	switch string(label) {
	case "CLIENT_RANDOM":
		k.secrets.master.set(b[:n])
	case "CLIENT_TRAFFIC_SECRET_0":
		k.secrets.client.set(b[:n])
	case "SERVER_TRAFFIC_SECRET_0":
		k.secrets.server.set(b[:n])
	}
	clear(b[:])
	return len(line), nil
}

// masterTag begins the entry of tls.SessionState.Extra that has the master secret.
const masterTag = "megaphone master "

// wrapSession makes a ticket. It is called once for each.
func (w *Worker) wrapSession(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	w.tickets++
	if state.Version == tls.VersionTLS12 {
		master := &w.secrets.master
		if state.DidResume {
			master = &w.secrets.unwrapped
		}
		entry := append([]byte(masterTag), master.bytes()...)
		session.Extra = append(session.Extra, entry)
		defer clear(entry)
	}
	return w.config.base.EncryptTicket(state, session)
}

// unwrapSession opens a ticket. It returns no session, without an error, if the handshake must be a full one.
func (w *Worker) unwrapSession(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	session, err := w.config.base.DecryptTicket(ticket, state)
	if err != nil || session == nil || state.Version != tls.VersionTLS12 {
		return session, err
	}
	for _, entry := range session.Extra {
		if master, ok := bytes.CutPrefix(entry, []byte(masterTag)); ok && len(master) == maxSecretBytes {
			w.secrets.unwrapped.set(master)
			clear(master)
			return session, nil
		}
	}
	return nil, nil
}
