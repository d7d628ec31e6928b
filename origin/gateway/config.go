package gateway

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The defaults of Config, and the limits that it cannot change.
const (
	defaultMaxBufferedBytes = 256 << 20         // of requests and replies; an empty poll with its head has some 400
	defaultMaxReplyBytes    = 4 << 20           // the roster of a large account
	defaultMaxHeadBytes     = 64 << 10          // cookies of balancers, tracing, security headers: heads of 12 KB occur
	defaultConnectTimeout   = 5 * time.Second   // two lost SYNs
	defaultResponseTimeout  = 330 * time.Second // ejabberd holds for at most 300 s, Prosody for 120 s
	defaultIdleTimeout      = 30 * time.Second  // of a socket without a request; web servers wait 60 s and more
	defaultGrace            = 30 * time.Second  // same as the edge's
	defaultProbeInterval    = time.Second

	// maxEndpoints bounds the URLs of one gateway.
	maxEndpoints = 60
	// ReservedDescriptors is the part of RLIMIT_NOFILE that sockets to endpoints may not use. It covers up to MaxLinks
	// links, connections that are not links yet, a probe for each endpoint, standard streams, the listener, and the
	// resolver.
	ReservedDescriptors = 320
	// MaxLinks bounds the open links, so that they fit into ReservedDescriptors.
	MaxLinks = 160
)

// Config configures a Gateway. A zero field selects its default.
type Config struct {
	Endpoints []string // URLs of BOSH endpoints: http://host[:port]/path or https

	Roots *x509.CertPool // that certificates of https are verified against; nil: this host's

	MaxSockets       int           // to all endpoints; default: what RLIMIT_NOFILE leaves
	OtherSockets     int           // that another part of the process may open; no default
	MaxBufferedBytes int           // of requests and replies; further requests get 503, replies wait
	MaxReplyBytes    int           // limit of a reply's body; a larger reply is not delivered
	MaxHeadBytes     int           // limit of a reply's HTTP head; a reply with a larger head is not delivered
	ConnectTimeout   time.Duration // for a connection to an endpoint
	ResponseTimeout  time.Duration // for a reply; must exceed the longest wait of the endpoints
	IdleTimeout      time.Duration // closes a socket without a request for this long
	Grace            time.Duration // how long a down endpoint is expected back
	ProbeInterval    time.Duration // between two probes of a down endpoint

	Log *slog.Logger // nil disables logging
}

// WithDefaults returns c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	set(&c.MaxSockets, descriptors()-ReservedDescriptors-c.OtherSockets)
	set(&c.MaxBufferedBytes, defaultMaxBufferedBytes)
	set(&c.MaxReplyBytes, defaultMaxReplyBytes)
	set(&c.MaxHeadBytes, defaultMaxHeadBytes)
	set(&c.ConnectTimeout, defaultConnectTimeout)
	set(&c.ResponseTimeout, defaultResponseTimeout)
	set(&c.IdleTimeout, defaultIdleTimeout)
	set(&c.Grace, defaultGrace)
	set(&c.ProbeInterval, defaultProbeInterval)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// validate returns an error with the first invalid key, its value and a remedy. Call WithDefaults first.
func (c Config) validate() error {
	if _, err := parseEndpoints(c.Endpoints, c.Roots); err != nil {
		return err
	}
	limit := descriptors() - c.OtherSockets
	if most := limit - ReservedDescriptors; c.MaxSockets > most || c.MaxSockets < 1 {
		remedy := fmt.Sprintf("RLIMIT_NOFILE is %d, less %d for links and the program itself: ",
			limit+c.OtherSockets, ReservedDescriptors)
		if c.OtherSockets > 0 {
			remedy = strings.TrimSuffix(remedy, ": ") + fmt.Sprintf(" and %d for WebSockets: ", c.OtherSockets)
		}
		if most > 0 {
			remedy += fmt.Sprintf("use 1 to %d, or ", most)
		}
		return bad("max-sockets", c.MaxSockets, remedy+"raise the limit (ulimit -n, or LimitNOFILE= in a systemd unit)")
	}
	for _, f := range []struct {
		key             string
		value, min, max int
	}{
		{"max-buffered-bytes", c.MaxBufferedBytes, 64 << 10, 1 << 40},
		{"max-reply-bytes", c.MaxReplyBytes, 1024, 16 << 20},
		{"max-reply-head-bytes", c.MaxHeadBytes, headBytes, 1 << 20},
	} {
		if f.value < f.min || f.value > f.max {
			return bad(f.key, f.value, fmt.Sprintf("use %d to %d", f.min, f.max))
		}
	}
	for _, f := range []struct {
		key   string
		value time.Duration
	}{
		{"connect-timeout", c.ConnectTimeout}, {"response-timeout", c.ResponseTimeout}, {"idle-timeout", c.IdleTimeout},
		{"grace", c.Grace}, {"probe-interval", c.ProbeInterval},
	} {
		if f.value < time.Millisecond || f.value > 24*time.Hour {
			return bad(f.key, f.value, "use 1s to 24h")
		}
	}
	return nil
}

func bad(key string, value any, remedy string) error {
	return fmt.Errorf("%s: %v: %s", key, value, remedy)
}

// descriptors returns RLIMIT_NOFILE. Go has raised the soft limit to the hard one at start.
func descriptors() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024 // the usual limit; Getrlimit cannot fail here
	}
	return int(min(r.Cur, 1<<20)) // a higher value means no limit, and so many calls would not fit in memory
}
