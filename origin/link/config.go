package link

import (
	"fmt"
	"log/slog"
	"time"

	"megaphone/codec"
)

// The defaults of Config.
const (
	DefaultListen           = "127.0.0.1:5279"
	DefaultName             = "origin"
	DefaultMaxContentsBytes = 1 << 20 // an edge takes bodies of 256 KiB unless told otherwise
	DefaultPingTimeout      = 15 * time.Second
	DefaultHighWaterBytes   = 1 << 20
	DefaultMaxUnsentBytes   = 8 << 20         // a wire of 10 Gbit/s takes 7 ms for it
	DefaultMaxLinks         = 4096            // a reactor of an edge has one; 64 edges of 64 reactors
	DefaultMaxUnproved      = 64              // a handshake takes a millisecond, so that 64,000 may begin in a second
	DefaultProofTimeout     = 3 * time.Second // a lost packet may come again twice
)

// Config says how a Server listens. The zero value of a field means its default.
type Config struct {
	Listen string // host:port; the protocol belongs on a private network
	Name   string // this origin's name: 1 to 64 of A-Z a-z 0-9 . _ -
	Secret []byte // shared with the edges; empty: none is asked for

	TakesQuery bool // edges are to send the query of the client's URL along

	MaxContentsBytes int           // largest frame contents taken
	PingTimeout      time.Duration // a link that is silent or stands still for so long is closed; a third brings a ping
	HighWaterBytes   int           // a link with more unsent bytes is not read from
	MaxUnsentBytes   int           // a link with more unsent bytes is full, until half of it is sent (Link.Full)
	MaxLinks         int           // further ones are refused
	MaxUnproved      int           // connections that have not proved to be an edge's; the oldest one makes room
	ProofTimeout     time.Duration // they have so much time for it

	Log *slog.Logger // nil: nothing is logged
}

// WithDefaults returns c with every zero field set to its default.
func (c Config) WithDefaults() Config {
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
		c.PingTimeout = DefaultPingTimeout
	}
	if c.ProofTimeout == 0 {
		c.ProofTimeout = DefaultProofTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	set(&c.MaxContentsBytes, DefaultMaxContentsBytes)
	set(&c.HighWaterBytes, DefaultHighWaterBytes)
	set(&c.MaxUnsentBytes, max(DefaultMaxUnsentBytes, c.HighWaterBytes))
	set(&c.MaxLinks, DefaultMaxLinks)
	set(&c.MaxUnproved, DefaultMaxUnproved)
	return c
}

// Validate says which key of c, with its defaults set, cannot be, and what would do.
func (c Config) Validate() error {
	for _, f := range []struct {
		key             string
		value, min, max int
	}{
		{"MaxContentsBytes", c.MaxContentsBytes, 1024, codec.MaxContentsBytes},
		{"HighWaterBytes", c.HighWaterBytes, 1024, 1 << 30},
		{"MaxUnsentBytes", c.MaxUnsentBytes, c.HighWaterBytes, 1 << 40},
		{"MaxLinks", c.MaxLinks, 1, 1 << 20},
		{"MaxUnproved", c.MaxUnproved, 1, 1 << 16},
		{"ProofTimeout in milliseconds", int(c.ProofTimeout.Milliseconds()), 100, 86_400_000},
		{"PingTimeout in milliseconds", int(c.PingTimeout.Milliseconds()), 300, 86_400_000},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("link: %s is %d; it must be between %d and %d", f.key, f.value, f.min, f.max)
		}
	}
	if !codec.ValidName(c.Name) {
		return fmt.Errorf("link: Name is %q; it must be 1 to 64 of A-Z a-z 0-9 . _ -", c.Name)
	}
	return nil
}
