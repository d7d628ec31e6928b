package config

import (
	"cmp"
	"os"
	"strings"
	"time"

	"megaphone/codec/http1"
	"megaphone/loop"
)

// Config is the configuration of an edge as an operator writes it. The zero value of a field means the documented
// default. Each field that may be set in a file has a row in configKeys.
type Config struct {
	Listen           string // host:port; shorthand for a single listener
	Listeners        []Listener
	Origins          []Origin // at least one
	Name             string   // the edge's name in its hello to origins; default edge-HOSTNAME
	Path             string   // of the BOSH endpoint
	WebSocketPath    string   // of the WebSocket endpoint; off
	SecretFile       string   // its first line is the secret shared with the origins
	OldProof         string   // on, off: also accept the proof of origins older than this version
	PublicURLs       []PublicURL
	CORS             []string // "*", or web origins that may send credentials
	Tags             string   // auto, on, off; auto: on with more than one origin
	Reactors         int      // 0: one per core, or as many as descriptor tables need
	DescriptorTables string   // auto, on, off
	MaxConnections   int      // over all reactors
	BodyRate         int      // minimum bytes per second of a body that takes longer than BodyTimeout
	MessageRate      int      // messages per second of one WebSocket; 0: unlimited
	MaxPipelined     int      // concurrent requests of one connection
	MaxHeadLineBytes int      // bytes
	MaxHeaderBytes   int      // bytes, all header lines together
	MaxHeaders       int      // lines
	MaxBodyBytes     int      // bytes
	MaxOutputBytes   int      // unsent bytes of one connection
	MaxBufferedBytes int      // buffered bytes of all connections of a reactor
	LinkHighWater    int      // unsent bytes of a link above which new requests get 503
	LimitExempt      []string // networks exempt from the per-address limits
	LogLevel         string   // debug, info, warn, error
	LogFormat        string   // text, json
	Admin            string   // host:port; auto: 127.0.0.1:5281 once it is free; off
	AdminSocket      string   // path of a unix socket for the same; auto: in RUNTIME_DIRECTORY, if that is set; off
	AccessLog        string   // off, stderr, or a file
	AccessSample     string   // 1/N: log every Nth request
	CheckHost        string   // on, off: warn at start about what the host lacks
	TakeoverSocket   string   // path where a successor requests the listeners
	StateDirectory   string   // of the account and certificates of acme; auto: STATE_DIRECTORY, or /var/lib/megaphone

	MinCreations        int // session creations under way at one origin, whatever is measured
	MaxCreations        int
	CreationRate        int    // per second to one origin; 0: unlimited
	MaxWaitingCreations int    // over all reactors
	Ejection            string // on, off: a failing origin gets no new sessions for a time

	AddressConnections     int // of one client address at once; 0: unlimited
	AddressConnectionRate  int // new ones per second
	AddressConnectionBurst int
	AddressRequestRate     int // requests per second
	AddressRequestBurst    int
	SiteMultiple           int // the limits of an IPv6 /48, as a multiple of those of an address

	HeadTimeout     time.Duration // from a request's first byte to the end of its head
	BodyTimeout     time.Duration // from there to the end of its body, or to the next BodyRate times this bytes of it
	IdleTimeout     time.Duration // a keep-alive connection without a request
	HoldTimeout     time.Duration // a held request; must exceed every session's wait
	WriteTimeout    time.Duration // a reply without progress: no byte leaves
	WebSocketPing   time.Duration // a WebSocket without a byte gets a ping after this, and is closed after twice this
	Grace           time.Duration // how long a lost origin is expected to return
	LostJitter      time.Duration // the holds of a lost link get their 503 spread over this time
	ResolveInterval time.Duration // between two look-ups of origins by name
	PingTimeout     time.Duration // a link without a byte is dead after this long
	KeepAlive       time.Duration // TCP idle time before the first probe; four probes follow in the same time
	DrainTimeout    time.Duration // after SIGTERM or a takeover; the remaining clients are then disconnected
	DrainJitter     time.Duration // holds are released and idle connections closed over this time

	CreateTimeout time.Duration // for an origin's reply to a session creation
	CreateWait    time.Duration // for a session creation to find an origin with room
	SlowStart     time.Duration // over which the share of new sessions grows for an origin that came up
	EjectTime     time.Duration // first ejection of a failing origin

	Secret []byte // instead of SecretFile; it has no key
}

// Defaults, with their reasons.
const (
	defaultListen        = "127.0.0.1:5280"
	defaultPath          = "/http-bind"      // the path of every BOSH server
	defaultWebSocketPath = "/xmpp-websocket" // that of Prosody and Openfire, and of most examples
	defaultWeight        = 1
	DefaultMaxPipelined  = 8       // Pidgin pipelines two or three
	defaultLinkHighWater = 8 << 20 // bytes: a link this far behind is in trouble

	DefaultHeadTimeout   = 10 * time.Second
	defaultBodyTimeout   = 30 * time.Second
	defaultBodyRate      = 500               // bytes per second: half of what a bad mobile network carries
	defaultIdleTimeout   = 150 * time.Second // a client's other socket idles for up to `wait`, which is 60 s or more
	DefaultHoldTimeout   = 330 * time.Second // ejabberd holds for at most 300 s
	defaultWriteTimeout  = 30 * time.Second
	defaultWebSocketPing = time.Minute // NATs and proxies forget a connection after some minutes
	defaultGrace         = 30 * time.Second
	defaultLostJitter    = 5 * time.Second // a fiftieth of the clients in a tenth of a second
	defaultPingTimeout   = 15 * time.Second
	defaultDrainTimeout  = 90 * time.Second // ejabberd's holds end with their wait, which is 60 s with most clients
	defaultDrainJitter   = 10 * time.Second // a million clients that return at once are a storm for the next edge

	defaultMinCreations        = 8
	defaultMaxCreations        = 1000
	defaultMaxWaitingCreations = 1_000_000
	defaultCreateTimeout       = 10 * time.Second // people reload a page that takes longer to connect
	defaultCreateWait          = 50 * time.Second // clients and proxies wait a minute; a retry costs more
	defaultSlowStart           = time.Minute
	defaultEjectTime           = 10 * time.Second

	defaultForwardedHeader = "x-forwarded-for" // written by every HTTP proxy
	defaultMinVersion      = "1.2"             // Mozilla's intermediate configuration
	defaultStateDirectory  = "/var/lib/megaphone"
	defaultResolveInterval = 30 * time.Second

	// burstSeconds is how many seconds' worth of a rate may come at once. A browser opens its page's connections
	// together, and an office its browsers.
	burstSeconds = 10
	maxRate      = 100_000 // per second, of one address

	// defaultSiteMultiple fits a /48 with many households, few of them present at once. A single holder of the /48 gets
	// as much as 64 IPv4 addresses.
	defaultSiteMultiple = 64
)

// WithDefaults returns a copy with the defaults filled in.
func (c Config) WithDefaults() Config {
	if len(c.Listeners) == 0 {
		set(&c.Listen, defaultListen)
	}
	set(&c.Path, defaultPath)
	set(&c.WebSocketPath, defaultWebSocketPath)
	set(&c.DescriptorTables, "auto")
	set(&c.LogLevel, "info")
	set(&c.LogFormat, "text")
	set(&c.Tags, "auto")
	set(&c.CheckHost, "on")
	set(&c.OldProof, "off")
	set(&c.Admin, "auto")
	set(&c.AdminSocket, "auto")
	set(&c.StateDirectory, "auto")
	set(&c.AccessLog, "off")
	set(&c.AccessSample, "1/1")
	set(&c.MaxConnections, loop.DefaultMaxConnections)
	set(&c.MaxPipelined, DefaultMaxPipelined)
	set(&c.MaxHeadLineBytes, http1.DefaultMaxRequestLineBytes)
	set(&c.MaxHeaderBytes, http1.DefaultMaxHeaderBytes)
	set(&c.MaxHeaders, http1.DefaultMaxHeaders)
	set(&c.MaxBodyBytes, http1.DefaultMaxBodyBytes)
	set(&c.MaxOutputBytes, loop.DefaultMaxOutputBytes)
	set(&c.MaxBufferedBytes, loop.DefaultMaxBufferedBytes)
	set(&c.LinkHighWater, defaultLinkHighWater)
	set(&c.MinCreations, min(defaultMinCreations, cmp.Or(c.MaxCreations, defaultMinCreations)))
	set(&c.MaxCreations, max(defaultMaxCreations, c.MinCreations))
	set(&c.MaxWaitingCreations, defaultMaxWaitingCreations)
	set(&c.Ejection, "on")
	set(&c.CreateTimeout, defaultCreateTimeout)
	set(&c.CreateWait, defaultCreateWait)
	set(&c.SlowStart, defaultSlowStart)
	set(&c.EjectTime, defaultEjectTime)
	set(&c.AddressConnectionBurst, burstSeconds*c.AddressConnectionRate)
	set(&c.AddressRequestBurst, burstSeconds*c.AddressRequestRate)
	set(&c.SiteMultiple, defaultSiteMultiple)
	set(&c.HeadTimeout, DefaultHeadTimeout)
	set(&c.BodyTimeout, defaultBodyTimeout)
	set(&c.BodyRate, defaultBodyRate)
	set(&c.IdleTimeout, defaultIdleTimeout)
	set(&c.HoldTimeout, DefaultHoldTimeout)
	set(&c.WriteTimeout, defaultWriteTimeout)
	set(&c.WebSocketPing, defaultWebSocketPing)
	set(&c.Grace, defaultGrace)
	set(&c.LostJitter, defaultLostJitter)
	set(&c.PingTimeout, defaultPingTimeout)
	set(&c.KeepAlive, loop.DefaultKeepAlive)
	set(&c.DrainTimeout, defaultDrainTimeout)
	set(&c.DrainJitter, defaultDrainJitter)
	set(&c.ResolveInterval, defaultResolveInterval)
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = "edge-" + safeName(host)
	}
	if len(c.CORS) == 0 {
		c.CORS = []string{"*"}
	}
	c.setListeners()
	c.setOrigins()
	return c
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// safeName makes a host name valid as a name in hello.
func safeName(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c) {
			return c
		}
		return '-'
	}, s)
	return s[:min(len(s), 40)]
}
