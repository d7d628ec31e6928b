package record

import (
	"encoding/binary"
	"errors"
)

// StateBytes is the size of a State.
const StateBytes = 128

// The layout of a State.
const (
	inAt       = 0
	outAt      = inAt + directionBytes
	epochAt    = outAt + directionBytes
	suiteAt    = epochAt + 8
	flagsAt    = suiteAt + 1
	uselessAt  = flagsAt + 1
	progressAt = uselessAt + 1
	partAt     = progressAt + 1
	stateEnd   = partAt + partBytes
)

// Both lines fail to compile if the layout is larger or smaller than the slot.
const (
	_ = uint(StateBytes - stateEnd)
	_ = uint(stateEnd - StateBytes)
)

// State is the record layer of one connection while it is idle. It is an array of bytes, so that it can be a view of a
// table outside the heap: (*State)(slots[StateBytes*i:]). Only this package reads or writes the bytes. The zero State
// has no keys: it opens and seals nothing.
//
// Invariant: the sequence number of a key only ever counts up, so no nonce is used twice. Therefore a State must not be
// copied while it has keys.
type State [StateBytes]byte

// Flags of a State.
const (
	flagClient   = 1 << iota // this end is the client
	flagInEnded              // the peer has ended the stream, or has violated the protocol
	flagOutEnded             // the last record of this end is sealed
)

// Handshake is the result of a TLS handshake: what records need of it.
type Handshake struct {
	Suite  uint16 // IANA's number of the cipher suite, which implies the version
	Client bool   // this end was the client

	// TLS 1.3: CLIENT_TRAFFIC_SECRET_0 and SERVER_TRAFFIC_SECRET_0 of a key log.
	ClientSecret, ServerSecret []byte

	// TLS 1.2: the master secret (CLIENT_RANDOM of a key log), and the randoms of both hellos.
	Master, ClientRandom, ServerRandom []byte

	// Opened and Sealed are the records that have already passed under the keys of Secret or Master: Finished in TLS
	// 1.2, session tickets in TLS 1.3.
	Opened, Sealed uint64
}

var (
	errSuite  = errors.New("record: the cipher suite is not supported")
	errSecret = errors.New("record: a secret or a random has the wrong length")
)

// Start takes the keys of a handshake, whose secrets it copies. It returns an error, and leaves the state cleared, if
// the suite is unknown or a secret has the wrong length.
func (s *State) Start(h *Handshake) error {
	s.Clear()
	index := findSuite(h.Suite)
	if index == 0 {
		return errSuite
	}
	c := &suites[index]
	client, server := s.in(), s.out()
	if h.Client {
		client, server = server, client
		s[flagsAt] = flagClient
	}
	if c.tls13 {
		if n := c.secretBytes(); len(h.ClientSecret) != n || len(h.ServerSecret) != n {
			s.Clear()
			return errSecret
		}
		client.setSecret(h.ClientSecret)
		server.setSecret(h.ServerSecret)
	} else {
		if len(h.Master) != masterBytes || len(h.ClientRandom) != randomBytes || len(h.ServerRandom) != randomBytes {
			s.Clear()
			return errSecret
		}
		c.expandMaster(h, client, server)
	}
	s.in().setSequence(h.Opened)
	s.out().setSequence(h.Sealed)
	s[suiteAt] = index
	return nil
}

// Clear forgets all secrets. It must be called at the end of a connection. Only the epoch survives, because it makes
// the AEADs void that a Live still has.
func (s *State) Clear() {
	epoch := s.epoch() + 1
	*s = State{}
	s.setEpoch(epoch)
}

// maxRecords is the number of records under one key after which Worn reports true. AES-GCM is safe for 2^24.5 full ones
// (RFC 8446 section 5.5).
const maxRecords = 1 << 23

// Worn reports whether either key has protected so many records that the owner should end the connection, or in TLS 1.3
// call Update. A connection that continues loses margin of safety first, and ends when its sequence numbers do.
func (s *State) Worn() bool {
	return s.in().sequence() >= maxRecords || s.out().sequence() >= maxRecords
}

func (s *State) in() *direction         { return (*direction)(s[inAt:]) }
func (s *State) out() *direction        { return (*direction)(s[outAt:]) }
func (s *State) epoch() uint64          { return binary.NativeEndian.Uint64(s[epochAt:]) }
func (s *State) setEpoch(epoch uint64)  { binary.NativeEndian.PutUint64(s[epochAt:], epoch) }
func (s *State) suite() *suite          { return &suites[s[suiteAt]] }
func (s *State) keyed() bool            { return s[suiteAt] != 0 }
func (s *State) has(flag byte) bool     { return s[flagsAt]&flag != 0 }
func (s *State) set(flag byte)          { s[flagsAt] |= flag }
func (s *State) part() *[partBytes]byte { return (*[partBytes]byte)(s[partAt:]) }

// direction is the half of a State for one direction: a sequence number, and a secret. In TLS 1.3 it is the traffic
// secret, because KeyUpdate derives the next one from it. In TLS 1.2 it is the key, and the IV behind it.
type direction [directionBytes]byte

const (
	sequenceBytes  = 8
	maxSecretBytes = 48
	directionBytes = sequenceBytes + maxSecretBytes
)

func (d *direction) sequence() uint64            { return binary.NativeEndian.Uint64(d[:]) }
func (d *direction) setSequence(sequence uint64) { binary.NativeEndian.PutUint64(d[:], sequence) }
func (d *direction) secret(n int) []byte         { return d[sequenceBytes : sequenceBytes+n] }
func (d *direction) setSecret(p []byte)          { copy(d[sequenceBytes:], p) }
