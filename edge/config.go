package edge

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/textfile"
)

// Origin is a server of BOSH sessions at the other end of a link.
type Origin struct {
	Name    string   // 1 to 64 of [A-Za-z0-9._-]; the node tag of its sessions is a hash of it
	Address string   // host:port of its link listener
	Domains []string // new sessions only for these values of `to`; none: any
	Weight  int      // its share of new sessions; default 1
	Drain   bool     // no new sessions
}

// Page is a document that the edge serves itself.
type Page struct {
	ContentType string
	Body        []byte
}

// Listener is an address for clients.
type Listener struct {
	Address string      // host:port, or unix:/path
	Mode    fs.FileMode // of a unix socket; default 0660

	// How the edge identifies its clients, see gate.
	ProxyProtocol   string   // off, v1, v2, any
	TrustedProxies  []string // networks whose forwarding information is trusted
	ForwardedHeader string   // x-forwarded-for, forwarded, off
}

// Config is the whole configuration of an edge. The zero value of a field means the documented default. Each field that
// may be set in a file has a row in configKeys.
type Config struct {
	Listen           string // host:port; shorthand for a single listener
	Listeners        []Listener
	Origins          []Origin // at least one
	Name             string   // the edge's name in its hello to origins; default edge-HOSTNAME
	Path             string   // of the BOSH endpoint
	SecretFile       string   // its first line is the secret shared with the origins
	OldProof         string   // on, off: also accept the proof of origins older than this version
	PublicURLs       []PublicURL
	CORS             []string // "*", or web origins that may send credentials
	Tags             string   // auto, on, off; auto: on with more than one origin
	Reactors         int      // 0: one per core, or as many as descriptor tables need
	DescriptorTables string   // auto, on, off
	MaxConnections   int      // over all reactors
	BodyRate         int      // minimum bytes per second of a body that takes longer than BodyTimeout
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

	Level       *slog.LevelVar  // of Log: Start and Reload set it to LogLevel
	Resolver    Resolver        // default net.DefaultResolver
	Secret      []byte          // instead of SecretFile
	Pages       map[string]Page // by path
	Log         *slog.Logger
	ManualTicks bool            // time advances through Edge.Advance (tests)
	Inherited   []loop.Listener // sockets of other processes; the edge adopts those at the addresses of its listeners
	AcceptLater bool            // do not accept before Edge.Accept
	Access      *slog.Logger    // one record per answered request, each AccessSample-th; nil: none
}

// Defaults, with their reasons.
const (
	DefaultListen        = "127.0.0.1:5280"
	DefaultPath          = "/http-bind" // the path of every BOSH server
	DefaultWeight        = 1
	DefaultMaxPipelined  = 8       // Pidgin pipelines two or three
	DefaultLinkHighWater = 8 << 20 // bytes: a link this far behind is in trouble

	DefaultHeadTimeout  = 10 * time.Second
	DefaultBodyTimeout  = 30 * time.Second
	DefaultBodyRate     = 500               // bytes per second: half of what a bad mobile network carries
	DefaultIdleTimeout  = 150 * time.Second // a client's other socket idles for up to `wait`, which is 60 s or more
	DefaultHoldTimeout  = 330 * time.Second // ejabberd holds for at most 300 s
	DefaultWriteTimeout = 30 * time.Second
	DefaultGrace        = 30 * time.Second
	DefaultLostJitter   = 5 * time.Second // a fiftieth of the clients in a tenth of a second
	DefaultPingTimeout  = 15 * time.Second
	DefaultDrainTimeout = 90 * time.Second // ejabberd's holds end with their wait, which is 60 s with most clients
	DefaultDrainJitter  = 10 * time.Second // a million clients that return at once are a storm for the next edge

	DefaultMinCreations        = 8
	DefaultMaxCreations        = 1000
	DefaultMaxWaitingCreations = 1_000_000
	DefaultCreateTimeout       = 10 * time.Second // people reload a page that takes longer to connect
	DefaultCreateWait          = 45 * time.Second // browsers wait for a minute; a retry costs more than waiting
	DefaultSlowStart           = time.Minute
	DefaultEjectTime           = 10 * time.Second

	DefaultForwardedHeader = "x-forwarded-for" // written by every HTTP proxy
	DefaultResolveInterval = 30 * time.Second

	// DefaultSiteMultiple fits a /48 with many households, few of them present at once. A single holder of the /48 gets
	// as much as 64 IPv4 addresses.
	DefaultSiteMultiple = 64
)

// WithDefaults returns a copy with the defaults filled in.
func (c Config) WithDefaults() Config {
	if len(c.Listeners) == 0 {
		set(&c.Listen, DefaultListen)
	}
	set(&c.Path, DefaultPath)
	set(&c.DescriptorTables, "auto")
	set(&c.LogLevel, "info")
	set(&c.LogFormat, "text")
	set(&c.Tags, "auto")
	set(&c.CheckHost, "on")
	set(&c.OldProof, "off")
	set(&c.Admin, "auto")
	set(&c.AdminSocket, "auto")
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
	set(&c.LinkHighWater, DefaultLinkHighWater)
	set(&c.MinCreations, min(DefaultMinCreations, cmp.Or(c.MaxCreations, DefaultMinCreations)))
	set(&c.MaxCreations, max(DefaultMaxCreations, c.MinCreations))
	set(&c.MaxWaitingCreations, DefaultMaxWaitingCreations)
	set(&c.Ejection, "on")
	set(&c.CreateTimeout, DefaultCreateTimeout)
	set(&c.CreateWait, DefaultCreateWait)
	set(&c.SlowStart, DefaultSlowStart)
	set(&c.EjectTime, DefaultEjectTime)
	set(&c.AddressConnectionBurst, burstSeconds*c.AddressConnectionRate)
	set(&c.AddressRequestBurst, burstSeconds*c.AddressRequestRate)
	set(&c.SiteMultiple, DefaultSiteMultiple)
	set(&c.HeadTimeout, DefaultHeadTimeout)
	set(&c.BodyTimeout, DefaultBodyTimeout)
	set(&c.BodyRate, DefaultBodyRate)
	set(&c.IdleTimeout, DefaultIdleTimeout)
	set(&c.HoldTimeout, DefaultHoldTimeout)
	set(&c.WriteTimeout, DefaultWriteTimeout)
	set(&c.Grace, DefaultGrace)
	set(&c.LostJitter, DefaultLostJitter)
	set(&c.PingTimeout, DefaultPingTimeout)
	set(&c.KeepAlive, loop.DefaultKeepAlive)
	set(&c.DrainTimeout, DefaultDrainTimeout)
	set(&c.DrainJitter, DefaultDrainJitter)
	set(&c.ResolveInterval, DefaultResolveInterval)
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = "edge-" + safeName(host)
	}
	if len(c.CORS) == 0 {
		c.CORS = []string{"*"}
	}
	c.CORS, c.PublicURLs = normalOrigins(c.CORS), normalPublicURLs(c.PublicURLs)
	if p, ok := http1.AppendNormalPath(nil, []byte(c.Path)); ok {
		c.Path = string(p)
	}
	c.Listeners = slices.Clone(c.Listeners)
	for i := range c.Listeners {
		set(&c.Listeners[i].Mode, loop.DefaultSocketMode)
		set(&c.Listeners[i].ProxyProtocol, "off")
		set(&c.Listeners[i].ForwardedHeader, DefaultForwardedHeader)
	}
	c.Origins = slices.Clone(c.Origins)
	for i := range c.Origins {
		if o := &c.Origins[i]; !strings.HasPrefix(o.Address, fromSRV) {
			set(&o.Weight, DefaultWeight)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate returns a *KeyError for the first invalid key, with its value and a remedy. Call WithDefaults first.
func (c *Config) Validate() error {
	for i := range configKeys {
		if err := configKeys[i].Check(c); err != nil {
			return err
		}
	}
	if err := c.validateListeners(); err != nil {
		return err
	}
	if err := c.validateOrigins(); err != nil {
		return err
	}
	if !frame.ValidName(c.Name) {
		return bad("name", c.Name, "use 1 to 64 letters, digits, dots, underscores or dashes")
	}
	if err := c.validatePath(); err != nil {
		return err
	}
	if c.Tags == "off" && (len(c.Origins) > 1 || c.Origins[0].discovered()) {
		return bad("node-tags", c.Tags, "requests are routed by the tag if there are several origins: use auto or on")
	}
	if err := c.validateAdmin(); err != nil {
		return err
	}
	if err := c.validateBounds(); err != nil {
		return err
	}
	if err := c.validateLimits(); err != nil {
		return err
	}
	if c.MinCreations > c.MaxCreations {
		return bad("min-creations", c.MinCreations,
			fmt.Sprintf("use at most max-creations, which is %d", c.MaxCreations))
	}
	if err := c.validatePublicURLs(); err != nil {
		return err
	}
	return c.validateCORS()
}

func (c *Config) validateListeners() error {
	if len(c.Listeners) > 0 && c.Listen != "" {
		return bad("listen", c.Listen, "give either listen or listeners")
	}
	for i, l := range c.listeners() {
		path, isUnix := strings.CutPrefix(l.Address, "unix:")
		if remedy := CheckAddress(l.Address); remedy != "" && !isUnix {
			return bad(c.listenKey(i), l.Address, remedy+"; or unix:/path")
		}
		if isUnix && !strings.HasPrefix(path, "/") {
			return bad(c.listenKey(i), l.Address, "give an absolute path, for example unix:/run/megaphone/edge.sock")
		}
	}
	if len(c.Listeners) > loop.MaxListeners {
		return bad("listeners", len(c.Listeners), fmt.Sprintf("at most %d", loop.MaxListeners))
	}
	for i := range c.Listeners {
		if err := c.Listeners[i].validateClients(fmt.Sprintf("listeners[%d].", i)); err != nil {
			return err
		}
	}
	return nil
}

// listeners returns the listeners, the short form (listen) expanded.
func (c *Config) listeners() []Listener {
	if len(c.Listeners) == 0 {
		return []Listener{{Address: c.Listen, ForwardedHeader: DefaultForwardedHeader}}
	}
	return c.Listeners
}

func (c *Config) validateOrigins() error {
	switch n := len(c.Origins); {
	case n == 0:
		return bad("origins", "none", "name at least one origin, for example a=127.0.0.1:5279")
	case n > MaxOrigins:
		return bad("origins", n, fmt.Sprintf("at most %d", MaxOrigins))
	}
	tags := map[[boshbody.TagBytes]byte]string{}
	for i := range c.Origins {
		o, at := &c.Origins[i], fmt.Sprintf("origins[%d].", i)
		if err := o.validate(at); err != nil {
			return err
		}
		if o.discovered() {
			continue
		}
		tag := boshbody.TagOf(o.Name)
		if other, ok := tags[tag]; ok {
			return bad(at+"name", o.Name, fmt.Sprintf("%q has the same node tag (or name); rename one", other))
		}
		tags[tag] = o.Name
	}
	return nil
}

func (o *Origin) validate(at string) error {
	srv, isSRV := strings.CutPrefix(o.Address, fromSRV)
	host, _, wrong := splitAddress(strings.TrimPrefix(o.Address, fromAddr), 1)
	switch {
	case isSRV && !validHost(srv):
		return bad(at+"address", o.Address, "name SRV records, for example dns+srv:_megaphone._tcp.example.org")
	case !isSRV && !strings.Contains(o.Address, ":"):
		return bad(at+"address", o.Address, "give host:port, for example 127.0.0.1:5279; as a flag a=127.0.0.1:5279")
	case !isSRV && wrong != "":
		return bad(at+"address", o.Address, wrong)
	case !isSRV && host == "":
		return bad(at+"address", o.Address, "say which host, for example 127.0.0.1"+o.Address)
	case o.discovered() && o.Name != "":
		return bad(at+"name", o.Name, "leave it out: such origins are named after their DNS records")
	case !o.discovered() && !frame.ValidName(o.Name):
		return bad(at+"name", o.Name, "an origin's name is 1 to 64 letters, digits, dots, underscores or dashes")
	case isSRV && o.Weight != 0:
		return bad(at+"weight", o.Weight, "leave it out: SRV records have their own weights")
	case isSRV:
		return nil
	}
	for i := range originKeys {
		k := &originKeys[i]
		if remedy, ok := k.check(o); !ok {
			return bad(at+k.Name, text(k.Value(o)), remedy)
		}
	}
	return nil
}

// maxPath bounds the path of the endpoint in bytes.
const maxPath = 255

// validatePath checks a path that is normalized, or that has no normal form.
func (c *Config) validatePath() error {
	const example = "for example /http-bind"
	p := c.Path
	escaped := (&url.URL{Path: p}).EscapedPath()
	_, ok := http1.AppendNormalPath(nil, []byte(p))
	switch {
	case !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?#"):
		return bad("path", p, "give an absolute path without a query, "+example)
	case !ok:
		return bad("path", p, "a % needs two hexadecimal digits after it: write %25 for a literal %")
	case len(p) > maxPath:
		return bad("path", p, fmt.Sprintf("give one of at most %d bytes, %s", maxPath, example))
	case strings.ContainsFunc(p, func(c rune) bool { return c <= ' ' || c > '~' }):
		return bad("path", p, "write it as it is in a URL: "+escaped)
	}
	return nil
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

// reasonOf returns a file error without the file's name, for messages that give the name already.
func reasonOf(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// ReadSecret returns the first line of a secret file.
func ReadSecret(file string) ([]byte, error) {
	data, err := textfile.ReadSecret(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, bad("secret-file", file, "no such file: make one with "+
			"`head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`")
	case err != nil:
		return nil, bad("secret-file", file, reasonOf(err))
	}
	line, _, _ := strings.Cut(data, "\n")
	if line = strings.TrimSpace(line); len(line) < 16 {
		return nil, bad("secret-file", file, "its first line must be a secret of at least 16 characters")
	}
	return []byte(line), nil
}
