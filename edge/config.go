package edge

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"megaphone/codec"
	"megaphone/loop"
	"megaphone/tuning"
)

// Origin is one node that serves BOSH sessions at the other end of a link.
type Origin struct {
	Name    string   `yaml:"name"`    // 1 to 64 of [A-Za-z0-9._-]; the node tag of its sessions is made from it
	Address string   `yaml:"address"` // host:port of its link listener
	Domains []string `yaml:"domains"` // new sessions `to` these only; none: to any
}

// Page is a document that the edge serves itself.
type Page struct {
	ContentType string
	Body        []byte
}

// Config is all that an edge can be told. The zero value of a field means the documented default.
type Config struct {
	Listen           string   `yaml:"listen"`             // host:port
	Origins          []Origin `yaml:"origins"`            // at least one
	Name             string   `yaml:"name"`               // how the edge calls itself to origins; default edge-HOSTNAME
	Path             string   `yaml:"path"`               // of the BOSH endpoint
	SecretFile       string   `yaml:"secret-file"`        // shared with the origins; its first line
	CORS             []string `yaml:"cors-origins"`       // "*", or web origins that may send credentials
	Tags             string   `yaml:"node-tags"`          // auto, on, off; auto: on with more than one origin
	Reactors         int      `yaml:"reactors"`           // 0: one a core, or as many as descriptor tables need
	DescriptorTables string   `yaml:"descriptor-tables"`  // auto, on, off
	MaxConnections   int      `yaml:"max-connections"`    // over all reactors
	MaxPipelined     int      `yaml:"max-pipelined"`      // requests of one connection under way at once
	MaxHeadLineBytes int      `yaml:"max-request-line"`   // bytes
	MaxHeaderBytes   int      `yaml:"max-header-bytes"`   // bytes, all header lines together
	MaxHeaders       int      `yaml:"max-headers"`        // lines
	MaxBodyBytes     int      `yaml:"max-body-bytes"`     // bytes
	MaxOutputBytes   int      `yaml:"max-output-bytes"`   // unsent bytes of one connection
	MaxBufferedBytes int      `yaml:"max-buffered-bytes"` // kept bytes of all connections of a reactor
	LinkHighWater    int      `yaml:"link-high-water"`    // unsent bytes of a link above which new requests get 503
	TakeoverSocket   string   `yaml:"takeover-socket"`    // path; a successor asks there for the listeners
	CheckHost        string   `yaml:"check-host"`         // on, off: warn at start of what the host lacks

	HeadTimeout  time.Duration `yaml:"head-timeout"`  // from a request's first byte to the end of its head
	BodyTimeout  time.Duration `yaml:"body-timeout"`  // from there to the end of its body
	IdleTimeout  time.Duration `yaml:"idle-timeout"`  // a kept-alive connection without a request
	HoldTimeout  time.Duration `yaml:"hold-timeout"`  // a held request; must exceed every session's wait
	WriteTimeout time.Duration `yaml:"write-timeout"` // a reply of which no byte leaves
	Grace        time.Duration `yaml:"grace"`         // a lost node is expected back for this long
	PingTimeout  time.Duration `yaml:"ping-timeout"`  // a link without a byte is dead after this long
	DrainTimeout time.Duration `yaml:"drain-timeout"` // after SIGTERM or a takeover; then who is left is cut off
	DrainJitter  time.Duration `yaml:"drain-jitter"`  // over this time holds are released and idle connections closed

	Secret      []byte          `yaml:"-"` // in place of SecretFile
	Pages       map[string]Page `yaml:"-"` // by path
	Log         *slog.Logger    `yaml:"-"`
	ManualTicks bool            `yaml:"-"` // time moves by Edge.Advance (tests)
	Inherited   []loop.Listener `yaml:"-"` // sockets of other processes; those of our listeners are adopted
	AcceptLater bool            `yaml:"-"` // accept nobody before Edge.Accept
}

// Defaults, with their reasons.
const (
	DefaultPath          = "/http-bind" // what every BOSH server uses
	DefaultMaxPipelined  = 8            // Pidgin pipelines two or three
	DefaultLinkHighWater = 8 << 20      // bytes: a link that is this far behind is in trouble

	DefaultHeadTimeout  = 10 * time.Second
	DefaultBodyTimeout  = 30 * time.Second
	DefaultIdleTimeout  = 150 * time.Second // a client's other socket idles for up to `wait`, which is 60 s and more
	DefaultHoldTimeout  = 330 * time.Second // ejabberd holds for at most 300 s
	DefaultWriteTimeout = 30 * time.Second
	DefaultGrace        = 30 * time.Second
	DefaultPingTimeout  = 15 * time.Second
	DefaultDrainTimeout = 90 * time.Second // ejabberd's holds end with their wait, which is 60 s with most clients
	DefaultDrainJitter  = 10 * time.Second // a million clients that come back at once are a storm for the next edge
)

// WithDefaults fills in what is not set.
func (c Config) WithDefaults() Config {
	set(&c.Path, DefaultPath)
	set(&c.Tags, "auto")
	set(&c.CheckHost, "on")
	set(&c.MaxConnections, loop.DefaultMaxConnections)
	set(&c.MaxPipelined, DefaultMaxPipelined)
	set(&c.MaxHeadLineBytes, codec.DefaultMaxRequestLineBytes)
	set(&c.MaxHeaderBytes, codec.DefaultMaxHeaderBytes)
	set(&c.MaxHeaders, codec.DefaultMaxHeaders)
	set(&c.MaxBodyBytes, codec.DefaultMaxBodyBytes)
	set(&c.MaxOutputBytes, loop.DefaultMaxOutputBytes)
	set(&c.MaxBufferedBytes, loop.DefaultMaxBufferedBytes)
	set(&c.LinkHighWater, DefaultLinkHighWater)
	set(&c.HeadTimeout, DefaultHeadTimeout)
	set(&c.BodyTimeout, DefaultBodyTimeout)
	set(&c.IdleTimeout, DefaultIdleTimeout)
	set(&c.HoldTimeout, DefaultHoldTimeout)
	set(&c.WriteTimeout, DefaultWriteTimeout)
	set(&c.Grace, DefaultGrace)
	set(&c.PingTimeout, DefaultPingTimeout)
	set(&c.DrainTimeout, DefaultDrainTimeout)
	set(&c.DrainJitter, DefaultDrainJitter)
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = "edge-" + safeName(host)
	}
	if len(c.CORS) == 0 {
		c.CORS = []string{"*"}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate says what is wrong with a configuration, with the key, the value, and what would do.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return bad("listen", c.Listen, "give host:port, for example 0.0.0.0:5280")
	}
	if len(c.Origins) == 0 {
		return bad("origins", "none", "name at least one origin, for example a=127.0.0.1:5279")
	}
	if len(c.Origins) > MaxOrigins {
		return bad("origins", len(c.Origins), fmt.Sprintf("at most %d", MaxOrigins))
	}
	if !codec.ValidName(c.Name) {
		return bad("name", c.Name, "use 1 to 64 letters, digits, dots, underscores or dashes")
	}
	tags := map[[codec.TagBytes]byte]string{}
	for _, o := range c.Origins {
		if !codec.ValidName(o.Name) {
			return bad("origins", o.Name, "an origin's name is 1 to 64 letters, digits, dots, underscores or dashes")
		}
		if _, _, err := net.SplitHostPort(o.Address); err != nil {
			return bad("origins", o.Name+"="+o.Address, "give NAME=HOST:PORT, for example a=127.0.0.1:5279")
		}
		tag := codec.NodeTag(o.Name)
		if other, ok := tags[tag]; ok {
			return bad("origins", o.Name, fmt.Sprintf("%q has the same node tag (or name); rename one", other))
		}
		tags[tag] = o.Name
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?# ") {
		return bad("path", c.Path, "give an absolute path without a query, for example /http-bind")
	}
	if c.Tags != "auto" && c.Tags != "on" && c.Tags != "off" {
		return bad("node-tags", c.Tags, "use auto, on or off")
	}
	if c.Tags == "off" && len(c.Origins) > 1 {
		return bad("node-tags", c.Tags, "with more than one origin requests find their node by the tag: use auto or on")
	}
	if _, err := loop.ParseTables(c.DescriptorTables); err != nil {
		return bad("descriptor-tables", c.DescriptorTables, "use auto, on or off")
	}
	if c.CheckHost != "on" && c.CheckHost != "off" {
		return bad("check-host", c.CheckHost, "use on or off")
	}
	for _, o := range c.CORS {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			return bad("cors-origins", o, `use "*" or scheme://host[:port] without a path`)
		}
		if o == "*" && len(c.CORS) > 1 {
			return bad("cors-origins", o, `"*" stands alone`)
		}
	}
	if len(c.CORS) > maxCORS {
		return bad("cors-origins", len(c.CORS), fmt.Sprintf("at most %d", maxCORS))
	}
	return c.validateNumbers()
}

func (c *Config) validateNumbers() error {
	for _, n := range []struct {
		key        string
		value      int
		min, limit int
	}{
		{"reactors", c.Reactors, 0, tuning.MaxTables},
		{"max-connections", c.MaxConnections, 1, 16 << 20},
		{"max-pipelined", c.MaxPipelined, 1, 200},
		{"max-request-line", c.MaxHeadLineBytes, 64, 64 << 10},
		{"max-header-bytes", c.MaxHeaderBytes, 256, 1 << 20},
		{"max-headers", c.MaxHeaders, 4, 10_000},
		{"max-body-bytes", c.MaxBodyBytes, 1024, codec.MaxContentsBytes - 64},
		{"max-output-bytes", c.MaxOutputBytes, 4096, 1 << 30},
		{"max-buffered-bytes", c.MaxBufferedBytes, 64 << 10, 1 << 40},
		{"link-high-water", c.LinkHighWater, 4096, 1 << 30},
	} {
		if n.value < n.min || n.value > n.limit {
			return bad(n.key, n.value, fmt.Sprintf("use %d to %d", n.min, n.limit))
		}
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"head-timeout", c.HeadTimeout}, {"body-timeout", c.BodyTimeout}, {"idle-timeout", c.IdleTimeout},
		{"hold-timeout", c.HoldTimeout}, {"write-timeout", c.WriteTimeout}, {"grace", c.Grace},
		{"ping-timeout", c.PingTimeout}, {"drain-timeout", c.DrainTimeout}, {"drain-jitter", c.DrainJitter},
	} {
		if d.value < time.Second || d.value > 24*time.Hour {
			return bad(d.key, d.value, "use 1s to 24h")
		}
	}
	return nil
}

func bad(key string, value any, remedy string) error {
	return fmt.Errorf("%s: %v: %s", key, value, remedy)
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// safeName makes a host name fit for a hello.
func safeName(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c) {
			return c
		}
		return '-'
	}, s)
	return s[:min(len(s), 40)]
}

// ReadSecret is the first line of a secret file.
func ReadSecret(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("secret-file: %w: make one with "+
			"`head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSpace(line); len(line) < 16 {
		return nil, bad("secret-file", file, "its first line must be a secret of at least 16 characters")
	}
	return []byte(line), nil
}
