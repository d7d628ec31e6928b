package bosh

import (
	"fmt"
	"io"
)

// The defaults of Config.
const (
	DefaultMaxSessions       = 1_200_000 // a million and room for those that have not yet been found out to be gone
	DefaultMaxWaitSeconds    = 60        // what Strophe.js asks for; the edge's own deadline must be longer
	DefaultMaxHold           = 1         // a second held request would double the sockets and buys nothing
	DefaultPollingSeconds    = 2
	DefaultInactivitySeconds = 60  // long enough for an edge to be restarted under its clients
	DefaultAwaySeconds       = 10  // a page that is loaded again is back in less
	DefaultMaxPauseSeconds   = 120 // XEP-0124, section 10: a change of page in a slow browser
	DefaultMaxBodyBytes      = 262_144
	DefaultMaxQueuedBytes    = 1_048_576
	DefaultMaxReplyBytes     = 262_144
)

// maxRequests bounds the window of request ids, and with it what a session can make us keep: the requests that a client
// may have open at a time are one more than the hold it asked for, but never more than this.
const maxRequests = 8

// Config is what the sessions are negotiated from. The zero value of a field means its default.
type Config struct {
	MaxSessions       int // more are refused with undefined-condition and <resource-constraint/>
	MaxWaitSeconds    int // longest time that a request is held
	MaxHold           int // most requests held at a time, per session; at most 7
	PollingSeconds    int // shortest interval between empty requests
	InactivitySeconds int // longest time without a request before a session ends
	AwaySeconds       int // time without a request until Absences hears of it; negative: never
	MaxPauseSeconds   int // longest pause that a client may ask for; negative: pausing is not offered
	MaxBodyBytes      int // largest request
	MaxQueuedBytes    int // most bytes that wait for one client; more end its session with remote-stream-error
	MaxReplyBytes     int // a reply takes no further payload once it is this long

	// Random is where session ids come from; nil means crypto/rand.
	Random io.Reader
}

// WithDefaults returns c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.MaxSessions, DefaultMaxSessions)
	set(&c.MaxWaitSeconds, DefaultMaxWaitSeconds)
	set(&c.MaxHold, DefaultMaxHold)
	set(&c.PollingSeconds, DefaultPollingSeconds)
	set(&c.InactivitySeconds, DefaultInactivitySeconds)
	set(&c.AwaySeconds, DefaultAwaySeconds)
	set(&c.MaxPauseSeconds, DefaultMaxPauseSeconds)
	set(&c.MaxBodyBytes, DefaultMaxBodyBytes)
	set(&c.MaxQueuedBytes, DefaultMaxQueuedBytes)
	set(&c.MaxReplyBytes, DefaultMaxReplyBytes)
	return c
}

// Validate says which key of c, with its defaults set, cannot be, and what would do.
func (c Config) Validate() error {
	for _, f := range []struct {
		key             string
		value, min, max int
	}{
		{"MaxSessions", c.MaxSessions, 1, 1 << 30},
		{"MaxWaitSeconds", c.MaxWaitSeconds, 1, 3600},
		{"MaxHold", c.MaxHold, 1, maxRequests - 1},
		{"PollingSeconds", c.PollingSeconds, 1, 3600},
		{"InactivitySeconds", c.InactivitySeconds, 1, 86400},
		{"AwaySeconds", c.AwaySeconds, -1, 86400},
		{"MaxPauseSeconds", c.MaxPauseSeconds, -1, 86400},
		{"MaxBodyBytes", c.MaxBodyBytes, 256, 16 << 20},
		{"MaxQueuedBytes", c.MaxQueuedBytes, 1024, 1 << 30},
		{"MaxReplyBytes", c.MaxReplyBytes, 1024, 16 << 20},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("bosh: %s is %d; it must be between %d and %d", f.key, f.value, f.min, f.max)
		}
	}
	return nil
}
