package link

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"megaphone/codec/frame"
)

// The defaults of Config.
const (
	DefaultListen           = "127.0.0.1:5279"
	DefaultName             = "origin"
	DefaultMaxContentsBytes = 1 << 20 // an edge accepts bodies of up to 256 KiB by default
	defaultPingTimeout      = 15 * time.Second
	defaultHighWaterBytes   = 1 << 20
	defaultMaxUnsentBytes   = 8 << 20         // a 10 Gbit/s network sends this in 7 ms
	defaultMaxLinks         = 4096            // one per reactor of an edge: 64 edges of 64 reactors
	defaultMaxUnproved      = 64              // a handshake takes a millisecond, so 64,000 may begin per second
	defaultProofTimeout     = 3 * time.Second // a lost packet may be retransmitted twice
)

// Config configures a Server. A zero field selects its default.
type Config struct {
	Listen string // host:port; expose the protocol on a private network only
	Name   string // this origin's name: 1 to 64 of A-Z a-z 0-9 . _ -
	Secret []byte // shared with the edges; if empty, edges need no proof

	// TLS, unless nil, encrypts the links. A handshake counts as a part of the proof.
	TLS *tls.Config

	TakesQuery bool // ask edges to forward the query of the client's URL

	// OwnsSessions tells edges that all sessions end with this Server, so that they do not send requests of those of an
	// earlier one. It must not be set if the sessions live elsewhere, or can be reached through another Server.
	OwnsSessions bool

	// Streams, unless nil, takes streams, which the hello then announces. Edges refuse WebSockets otherwise.
	Streams StreamHandler

	MaxContentsBytes int           // limit of a frame's contents
	PingTimeout      time.Duration // closes a link that is silent or stalled for this long; a third triggers a ping
	HighWaterBytes   int           // reading from a link pauses above this many unsent bytes
	MaxUnsentBytes   int           // a link is full (Replier.Full) above this many unsent bytes, until half is sent
	WindowBytes      int           // unacknowledged bytes that an edge may send to one stream
	MaxLinks         int           // further links are refused
	MaxUnproved      int           // connections without a proof yet; a new one evicts the oldest
	ProofTimeout     time.Duration // time for a connection to prove itself

	Log *slog.Logger // nil disables logging
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.PingTimeout == 0 {
		c.PingTimeout = defaultPingTimeout
	}
	if c.ProofTimeout == 0 {
		c.ProofTimeout = defaultProofTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	set(&c.MaxContentsBytes, DefaultMaxContentsBytes)
	set(&c.HighWaterBytes, defaultHighWaterBytes)
	set(&c.MaxUnsentBytes, max(defaultMaxUnsentBytes, c.HighWaterBytes))
	set(&c.WindowBytes, frame.DefaultWindowBytes)
	set(&c.MaxLinks, defaultMaxLinks)
	set(&c.MaxUnproved, defaultMaxUnproved)
	return c
}

// validate returns an error that names the first invalid key, its value and its range. Call withDefaults first.
func (c Config) validate() error {
	for _, f := range []struct {
		key             string
		value, min, max int
	}{
		{"MaxContentsBytes", c.MaxContentsBytes, 1024, frame.MaxContentsBytes},
		{"HighWaterBytes", c.HighWaterBytes, 1024, 1 << 30},
		{"MaxUnsentBytes", c.MaxUnsentBytes, c.HighWaterBytes, 1 << 40},
		{"WindowBytes", c.WindowBytes, 1024, 1 << 28},
		{"MaxLinks", c.MaxLinks, 1, 1 << 20},
		{"MaxUnproved", c.MaxUnproved, 1, 1 << 16},
		{"ProofTimeout in milliseconds", int(c.ProofTimeout.Milliseconds()), 100, 86_400_000},
		{"PingTimeout in milliseconds", int(c.PingTimeout.Milliseconds()), 300, 86_400_000},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("link: %s is %d; it must be between %d and %d", f.key, f.value, f.min, f.max)
		}
	}
	if !frame.ValidName(c.Name) {
		return fmt.Errorf("link: Name is %q; it must be 1 to 64 of A-Z a-z 0-9 . _ -", c.Name)
	}
	return nil
}
