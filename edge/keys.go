package edge

import (
	"slices"

	"megaphone/codec"
	"megaphone/tuning"
)

// Keys are the keys of an edge's configuration file, in the order of the example.
func Keys() []Key[Config] { return slices.Clone(configKeys) }

// configKeys is the one place where a key is made known. See Key for what follows from it.
var configKeys = []Key[Config]{
	{Name: "listen", Doc: "address `host:port` for clients",
		More:  "An empty host is every address, IPv6 and IPv4. For several addresses, give listeners in its place.",
		Value: func(c *Config) any { return &c.Listen }},
	{Name: "listeners", Flag: "-", Doc: "several addresses for clients, each with options of its own",
		Value: func(c *Config) any { return &c.Listeners }},
	{Name: "origins", Flag: "origin", Doc: "the nodes that serve sessions, at least one", Reload: true,
		Help:  "origins `NAME=HOST:PORT`, comma-separated or repeated",
		Value: func(c *Config) any { return &c.Origins }},
	{Name: "secret-file", Doc: "`file` whose first line is the secret shared with the origins",
		More:   "At least 16 characters. Without one, whoever reaches an origin's port can speak for an edge.",
		Sample: "/etc/megaphone/secret", Reload: true,
		Value: func(c *Config) any { return &c.SecretFile }},
	{Name: "name", Doc: "how this edge calls itself to origins", More: "Left out: edge-HOSTNAME.", Sample: "edge-1",
		Value: func(c *Config) any { return &c.Name }},
	{Name: "path", Doc: "path of the BOSH endpoint", Reload: true,
		Value: func(c *Config) any { return &c.Path }},
	{Name: "cors-origins", Doc: `web origins whose pages may connect: "*", or scheme://host[,...]`,
		More: "Those of a list may send credentials.", Reload: true,
		Value: func(c *Config) any { return &c.CORS }},
	{Name: "node-tags", Doc: "mark session IDs with their origin: auto (with more than one origin), on, off",
		Words: []string{"auto", "on", "off"},
		More:  "The same on all edges of one domain. An edge that marks them goes on with it until it is restarted.",
		Value: func(c *Config) any { return &c.Tags }},
	{Name: "log-level", Doc: "what is logged to standard error: debug, info, warn, error",
		Words: []string{"debug", "info", "warn", "error"}, Reload: true,
		Value: func(c *Config) any { return &c.LogLevel }},
	{Name: "log-format", Doc: "how it is logged: text (key=value), json", Words: []string{"text", "json"},
		Value: func(c *Config) any { return &c.LogFormat }},
	{Name: "admin", Doc: "address `host:port` of the admin endpoint: metrics, health, status; auto, off",
		More:  "auto is 127.0.0.1:5281 as soon as that is free. Whoever reaches another address may read all of it.",
		Value: func(c *Config) any { return &c.Admin }},
	{Name: "admin-socket", Doc: "`path` of a unix socket for the same", Sample: "/run/megaphone/admin.sock",
		Value: func(c *Config) any { return &c.AdminSocket }},
	{Name: "access-log", Doc: "where answered requests are logged: off, stderr, or a `file`",
		Value: func(c *Config) any { return &c.AccessLog }},
	{Name: "access-log-sample", Doc: "which part of them: `1/N`", More: "At 100,000 requests/s, 1/100 is a lot.",
		Value: func(c *Config) any { return &c.AccessSample }},
	{Name: "check-host",
		Doc:   "warn at start of what the host lacks for max-connections (see megaphone doctor): on, off",
		Words: []string{"on", "off"},
		Value: func(c *Config) any { return &c.CheckHost }},

	{Name: "reactors", Doc: "event loops; 0: one a core, or as many as descriptor tables need", Max: tuning.MaxTables,
		Value: func(c *Config) any { return &c.Reactors }},
	{Name: "descriptor-tables",
		Doc:   "a descriptor table for each reactor: auto (when RLIMIT_NOFILE is too low), on, off",
		Words: []string{"auto", "on", "off"},
		Value: func(c *Config) any { return &c.DescriptorTables }},
	{Name: "max-connections", Doc: "client connections in all; their memory is taken at start", Min: 1, Max: 16 << 20,
		Value: func(c *Config) any { return &c.MaxConnections }},
	{Name: "max-pipelined", Doc: "requests of one connection under way at once", Min: 1, Max: 200, Reload: true,
		Value: func(c *Config) any { return &c.MaxPipelined }},
	{Name: "max-request-line", Doc: "bytes of a request line, above: 414", Min: 64, Max: 64 << 10, Reload: true,
		Value: func(c *Config) any { return &c.MaxHeadLineBytes }},
	{Name: "max-header-bytes", Doc: "bytes of all header lines, above: 431", Min: 256, Max: 1 << 20, Reload: true,
		Value: func(c *Config) any { return &c.MaxHeaderBytes }},
	{Name: "max-headers", Doc: "header lines, above: 431", Min: 4, Max: 10_000, Reload: true,
		Value: func(c *Config) any { return &c.MaxHeaders }},
	{Name: "max-body-bytes", Doc: "bytes of a request body, above: 413", Min: 1024, Max: codec.MaxContentsBytes - 64,
		Reload: true,
		Value:  func(c *Config) any { return &c.MaxBodyBytes }},
	{Name: "max-output-bytes", Doc: "unsent bytes of one connection, above: closed", Min: 4096, Max: 1 << 30,
		Reload: true,
		Value:  func(c *Config) any { return &c.MaxOutputBytes }},
	{Name: "max-buffered-bytes",
		Doc: "kept bytes of all connections of one reactor, above: the one that asks is closed",
		Min: 64 << 10, Max: 1 << 40, Reload: true,
		Value: func(c *Config) any { return &c.MaxBufferedBytes }},
	{Name: "link-high-water", Doc: "unsent bytes of a link, above: new requests get 503", Min: 4096, Max: 1 << 30,
		Reload: true,
		Value:  func(c *Config) any { return &c.LinkHighWater }},

	{Name: "head-timeout", Doc: "for a request's head, from its first byte, then 408", Reload: true,
		Value: func(c *Config) any { return &c.HeadTimeout }},
	{Name: "body-timeout", Doc: "for a request's body, then 408", Reload: true,
		Value: func(c *Config) any { return &c.BodyTimeout }},
	{Name: "idle-timeout", Doc: "for an idle kept-alive connection, then it is closed", Reload: true,
		Value: func(c *Config) any { return &c.IdleTimeout }},
	{Name: "hold-timeout",
		Doc: "for a held request, then 504; must exceed the longest wait that origins allow", Reload: true,
		Value: func(c *Config) any { return &c.HoldTimeout }},
	{Name: "write-timeout", Doc: "for a reply of which no byte leaves, then closed", Reload: true,
		Value: func(c *Config) any { return &c.WriteTimeout }},
	{Name: "grace", Doc: "a lost origin is expected back: clients get 503 and try again", Reload: true,
		Value: func(c *Config) any { return &c.Grace }},
	{Name: "resolve-interval", Doc: "origins given by name are looked up again after it", Reload: true,
		Value: func(c *Config) any { return &c.ResolveInterval }},
	{Name: "ping-timeout", Doc: "a link without a byte is given up", Reload: true,
		Value: func(c *Config) any { return &c.PingTimeout }},
	{Name: "keep-alive", Doc: "TCP keep-alive: a silent peer is probed after this, and given up after twice this",
		Value: func(c *Config) any { return &c.KeepAlive }},

	{Name: "takeover-socket", Doc: "unix socket `path` where a successor asks for the listening sockets (--takeover)",
		More:   "Of the same user only. Left out: nobody can take over.",
		Sample: "/run/megaphone/takeover.sock",
		Value:  func(c *Config) any { return &c.TakeoverSocket }},
	{Name: "drain-timeout", Doc: "for clients to leave, after SIGTERM or a takeover, then they are cut off",
		Reload: true,
		More:   "Origins that cannot release requests hold them for their wait, which is 60s with most clients.",
		Value:  func(c *Config) any { return &c.DrainTimeout }},
	{Name: "drain-jitter",
		Doc: "time over which holds are released and idle connections closed, while draining", Reload: true,
		Value: func(c *Config) any { return &c.DrainJitter }},
}

// listenerKeys are the keys of one entry of listeners.
var listenerKeys = []Key[Listener]{
	{Name: "address", Doc: "host:port, or unix:/path of a socket for a proxy on this host", Sample: "0.0.0.0:5280",
		Value: func(l *Listener) any { return &l.Address }},
	{Name: "mode", Doc: "who may connect to a unix socket", Sample: "0660",
		Value: func(l *Listener) any { return &l.Mode }},
}

// originKeys are the keys of one entry of origins.
var originKeys = []Key[Origin]{
	{Name: "name", Doc: "1 to 64 letters, digits, dots, underscores, dashes; the same on every edge", Sample: "a",
		More:   "Session IDs are marked with a hash of it.",
		Reload: true, Value: func(o *Origin) any { return &o.Name }},
	{Name: "address", Doc: "host:port of the origin's link listener", Sample: "127.0.0.1:5279",
		More: "A host name is looked up again and again. dns:HOST:PORT stands for a node for each of the host's " +
			"addresses, dns+srv:_SERVICE._tcp.DOMAIN for one for each SRV record; leave name out then: their " +
			"names are HOST-PORT.",
		Reload: true, Value: func(o *Origin) any { return &o.Address }},
	{Name: "domains", Doc: "new sessions to these XMPP domains only; left out: to any", Sample: "[example.org]",
		Reload: true, Value: func(o *Origin) any { return &o.Domains }},
	{Name: "weight", Doc: "its share of new sessions, against the weights of the others", Min: 1, Max: MaxWeight,
		Sample: "1", Reload: true, Value: func(o *Origin) any { return &o.Weight }},
	{Name: "drain", Doc: "true: no new sessions to it; those that it has go on", Reload: true,
		Value: func(o *Origin) any { return &o.Drain }},
}
