package bosh

import (
	"fmt"
	"io"
)

// The defaults of Config.
const (
	DefaultMaxSessions       = 1_200_000 // a million, and room for those whose absence is not yet known
	DefaultMaxWaitSeconds    = 60        // what Strophe.js requests; the edge's hold-timeout must be longer
	defaultMaxHold           = 1         // a second held request would double the sockets without a benefit
	defaultPollingSeconds    = 2
	DefaultInactivitySeconds = 60  // enough for an edge to restart under its clients
	defaultAwaySeconds       = 10  // a reloaded page is back sooner
	defaultMaxPauseSeconds   = 120 // XEP-0124, section 10: a change of page in a slow browser
	DefaultMaxBodyBytes      = 262_144
	defaultMaxQueuedBytes    = 1_048_576
	defaultMaxReplyBytes     = 262_144
)

// maxRequests bounds the window of request ids, and so the memory of a session. A client may have one open request more
// than the hold it asked for, but never more than maxRequests.
const maxRequests = 8

// Config holds the limits from which sessions are negotiated. A zero field selects its default.
type Config struct {
	MaxSessions       int // further ones are refused with undefined-condition and <resource-constraint/>
	MaxWaitSeconds    int // longest time that a request is held
	MaxHold           int // most requests held at a time, per session; at most 7
	PollingSeconds    int // shortest interval between empty requests
	InactivitySeconds int // longest time without a request before a session ends
	AwaySeconds       int // time without a request before a call of Absences.Away; negative: never
	MaxPauseSeconds   int // longest pause that a client may request; negative: pausing is not offered
	MaxBodyBytes      int // largest request
	MaxQueuedBytes    int // most bytes queued for one client; more end its session with remote-stream-error
	MaxReplyBytes     int // a reply gets no further payload once it is this long

	// Random is the source of session ids; nil selects crypto/rand.
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
	set(&c.MaxHold, defaultMaxHold)
	set(&c.PollingSeconds, defaultPollingSeconds)
	set(&c.InactivitySeconds, DefaultInactivitySeconds)
	set(&c.AwaySeconds, defaultAwaySeconds)
	set(&c.MaxPauseSeconds, defaultMaxPauseSeconds)
	set(&c.MaxBodyBytes, DefaultMaxBodyBytes)
	set(&c.MaxQueuedBytes, defaultMaxQueuedBytes)
	set(&c.MaxReplyBytes, defaultMaxReplyBytes)
	return c
}

// Validate returns an error that names the first invalid key, its value and its range. Call WithDefaults first.
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
