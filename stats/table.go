package stats

// EdgeFigure is a figure of the whole edge, computed when it is read.
type EdgeFigure uint8

const (
	BuildInfo EdgeFigure = iota
	ConfigHash
	StartTime
	EdgeReady
	EdgeDraining
	MaxConnections
	MaxHolds
	MaxBufferedBytes
	LinkHighWater
	LogDropped
	OpenDescriptors
	MaxDescriptors
	ProcessOpenFDs
	ProcessMaxFDs
	CertificateExpiry
	ACMEIssued
	ACMEFailures
	ACMENext
	NumEdgeFigures
)

// Row returns the row of f.
func (f EdgeFigure) Row() *Row { return &edgeRows[f] }

var edgeRows = [NumEdgeFigures]Row{
	BuildInfo: {Metric: "megaphone_edge_build_info", Kind: KindGauge, Labels: []string{"version", "go"},
		Help: "Always 1; the labels have the versions."},
	ConfigHash: ofEdge("megaphone_edge_config_hash",
		"A number that changes with the configuration in force; 48 bits."),
	StartTime:        ofEdge("megaphone_edge_start_time_seconds", "When the edge started, in seconds since 1970."),
	EdgeReady:        ofEdge("megaphone_edge_ready", "1 if /readyz returns 200."),
	EdgeDraining:     ofEdge("megaphone_edge_draining", "1 while the edge drains its clients."),
	MaxConnections:   ofEdge("megaphone_edge_connections_max", "max-connections, over all reactors."),
	MaxHolds:         ofEdge("megaphone_edge_holds_max", "Room for held requests, over all reactors."),
	MaxBufferedBytes: ofEdge("megaphone_edge_buffered_max_bytes", "max-buffered-bytes, the bound of each reactor."),
	LinkHighWater: ofEdge("megaphone_edge_link_high_water_bytes",
		"link-high-water: beyond it new requests get 503."),
	LogDropped: {Metric: "megaphone_edge_log_dropped_total", Kind: KindCounter,
		Help: "Log records dropped because the queue was full, or that could not be written."},
	OpenDescriptors: ofEdge("megaphone_edge_open_descriptors",
		"Open descriptors in all descriptor tables, as far as known."),
	MaxDescriptors: ofEdge("megaphone_edge_max_descriptors", "RLIMIT_NOFILE times the number of descriptor tables."),
	ProcessOpenFDs: ofEdge("process_open_fds", "Number of open file descriptors, in all descriptor tables."),
	ProcessMaxFDs:  ofEdge("process_max_fds", "Maximum number of open file descriptors, over all descriptor tables."),
	CertificateExpiry: {Metric: "megaphone_edge_certificate_expiry_seconds", Kind: KindGauge,
		Labels: []string{"listener", "certificate"},
		Help:   "When a certificate in force expires, in seconds since 1970."},
	ACMEIssued: ofDomain("megaphone_edge_acme_issued",
		"1 if the CA has issued a certificate for a domain of acme; 0: a self-signed one is served."),
	ACMEFailures: ofDomain("megaphone_edge_acme_failures",
		"Orders of a domain's certificate that have failed since the last success."),
	ACMENext: ofDomain("megaphone_edge_acme_next_order_seconds",
		"When a domain's certificate is ordered next, in seconds since 1970."),
}

func ofDomain(metric, help string) Row {
	return Row{Metric: metric, Kind: KindGauge, Labels: []string{"domain"}, Help: help}
}

// Counter is a figure of one reactor: a counter, or a gauge that is set once per tick.
type Counter uint8

const (
	// Connections.
	OpenNow Counter = iota
	Accepted
	Closed
	AcceptFailures
	AcceptPauses
	Dialled
	IdleTimeouts
	BufferedNow
	BytesIn
	BytesOut
	Reads
	Writes
	ShortWrites
	Turns
	StrayEvents

	// TLS.
	TLSUnderWay
	TLSWaiting
	TLSStarted
	TLSFull
	TLSResumed
	TLSUnknownNames
	Redirects
	ACMEValidations

	// Requests.
	Requests
	Preflights
	Pages
	HeldNow
	Parked
	Released
	Gone
	StaleReplies
	WaitingNow
	Waited
	CreationsWaiting
	CreationsWaited
	ContentOverflow
	AccessDropped
	ForwardedUnknown
	AddressUncounted
	DrainReleases
	DrainCuts

	// WebSockets.
	StreamsNow
	StreamsOpened
	MessagesIn
	MessagesOut
	MessagesDelayed
	PingsIn
	PingsOut
	ClosesNormal
	ClosesGoingAway
	ClosesProtocol
	ClosesBinary
	ClosesNone
	ClosesLost
	ClosesText
	ClosesPolicy
	ClosesTooLarge
	ClosesInternal
	ClosesRestart
	ClosesBusy
	ClosesOther

	// Links.
	FramesIn
	FramesOut
	LinkBytesIn
	LinkBytesOut
	LinkReads
	LinkWrites
	LinkConnects
	LinksUp
	LinkFailures
	LinkErrors
	AuthFailures
	PingTimeouts
	UnknownVerbs

	// Refusals.
	NotFound
	MethodRefused
	LengthRequired
	EncodingRefused
	HTTPErrors
	BadBodies
	UnknownTags
	TooLarge
	HeadTimeouts
	BodyTimeouts
	WriteStalls
	SlowReaders
	NodeGone
	Retries
	SessionsLost
	LinkFull
	TableFull
	CreateTimeouts
	CreateWaits
	CreationsBusy
	Expired
	OverBudget
	ProxyUntrusted
	ProxyMalformed
	AddressConnections
	AddressConnectionRate
	AddressRequests
	SiteLimits
	HandshakesRefused
	SitesRefused
	StreamsUnsupported
	StreamsSilent
	TLSPlainHTTP
	TLSNotTLS
	TLSNoCommon
	TLSByClient
	TLSBadHandshake
	TLSBadRecord
	TLSTimeouts
	TLSAbandoned
	TLSInternal
	Refused

	NumCounters
)

// Row returns the row of c.
func (c Counter) Row() *Row { return &counterRows[c] }

var (
	clientBytes = twoWay{"megaphone_edge_client_bytes_total", "Bytes from (in) and to (out) clients."}
	clientCalls = twoWay{"megaphone_edge_client_calls_total",
		"Read (in) and write (out) system calls on client connections."}
	messages = twoWay{"megaphone_edge_websocket_messages_total",
		"Messages from (in) and to (out) WebSocket clients."}
	pings      = twoWay{"megaphone_edge_websocket_pings_total", "Pings from (in) and to (out) WebSocket clients."}
	frames     = twoWay{"megaphone_edge_frames_total", "Frames from (in) and to (out) origins."}
	linkBytes  = twoWay{"megaphone_edge_link_bytes_total", "Bytes from (in) and to (out) origins."}
	linkCalls  = twoWay{"megaphone_edge_link_calls_total", "Read (in) and write (out) system calls on links."}
	handshakes = byKindOf{"megaphone_edge_tls_handshakes_total", "TLS handshakes: full, or of a resumed session."}
)

var counterRows = [NumCounters]Row{
	OpenNow:  levels("open_now", "megaphone_edge_connections", "Clients connected."),
	Accepted: total("accepted", "megaphone_edge_accepted_connections_total", "Connections accepted."),
	Closed:   total("closed", "megaphone_edge_closed_connections_total", "Connections closed, for any reason."),
	AcceptFailures: total("accept_failures", "megaphone_edge_accept_failures_total",
		"Failures of accept4, usually because descriptors or memory ran out."),
	AcceptPauses: total("accept_pauses", "megaphone_edge_accept_pauses_total",
		"Pauses of accepting, for a back-off."),
	Dialled: total("dialled", "megaphone_edge_dialled_connections_total",
		"Client connections that the edge opened itself: none."),
	IdleTimeouts: total("idle_timeouts", "megaphone_edge_idle_timeouts_total",
		"Idle kept-alive connections closed after idle-timeout."),
	BufferedNow: levels("buffered_now", "megaphone_edge_buffered_bytes",
		"Bytes kept for connections: partial requests, unsent replies."),
	BytesIn:  clientBytes.in("bytes_in"),
	BytesOut: clientBytes.out("bytes_out"),
	Reads:    clientCalls.in("reads"),
	Writes:   clientCalls.out("writes"),
	ShortWrites: total("short_writes", "megaphone_edge_short_writes_total",
		"Writes to clients that left bytes unsent."),
	Turns: totals("turns", "megaphone_edge_turns_total", "Turns of the event loops that had something to finish."),
	StrayEvents: total("stray_events", "megaphone_edge_stray_events_total",
		"Events for descriptors without a connection."),

	TLSUnderWay: levels("tls_under_way", "megaphone_edge_tls_handshakes_under_way", "TLS handshakes under way."),
	TLSWaiting: levels("tls_waiting", "megaphone_edge_tls_handshakes_waiting",
		"Clients that wait for a TLS handshake, because as many as may be are under way."),
	TLSStarted: total("tls_started", "megaphone_edge_tls_connections_total", "Connections to listeners with TLS."),
	TLSFull:    handshakes.full("tls_full"),
	TLSResumed: handshakes.resumed("tls_resumed"),
	TLSUnknownNames: total("tls_unknown_names", "megaphone_edge_tls_unknown_names_total",
		"TLS handshakes for a server name that no certificate has."),
	Redirects: total("redirects", "megaphone_edge_https_redirects_total",
		"Requests that were redirected to https, https-redirect."),
	ACMEValidations: total("acme_validations", "megaphone_edge_acme_validations_total",
		"Requests and handshakes with which a CA validated a domain."),

	Requests:   totals("requests", "megaphone_edge_requests_total", "Complete HTTP requests."),
	Preflights: total("preflights", "megaphone_edge_preflights_total", "CORS preflights answered."),
	Pages: total("pages", "megaphone_edge_pages_total",
		"GET and HEAD requests that the edge answered with a page."),
	HeldNow:  levels("held_now", "megaphone_edge_holds", "Requests being held."),
	Parked:   total("parked", "megaphone_edge_holds_parked_total", "Requests handed to an origin."),
	Released: total("released", "megaphone_edge_holds_released_total", "Held requests that the origin answered."),
	Gone:     total("gone", "megaphone_edge_holds_gone_total", "Held requests whose client went away."),
	StaleReplies: total("stale_replies", "megaphone_edge_stale_replies_total",
		"Replies to holds that no longer existed."),
	WaitingNow: levels("waiting_now", "megaphone_edge_waiting_requests",
		"Held requests without an origin: it is away, and they wait for it or for their 503."),
	Waited: total("waited", "megaphone_edge_waited_requests_total",
		"Requests that waited while their session's origin was away."),
	CreationsWaiting: levels("creations_waiting", "megaphone_edge_creations_waiting",
		"Session creations that wait for an origin with room."),
	CreationsWaited: total("creations_waited", "megaphone_edge_creations_waited_total",
		"Session creations that had to wait for an origin with room."),
	ContentOverflow: total("content_overflow", "megaphone_edge_content_overflows_total",
		"Replies whose content type did not fit into the table of content types."),
	AccessDropped: total("access_dropped", "megaphone_edge_access_log_dropped_total",
		"Access log records dropped because the queue was full, or that could not be written."),
	ForwardedUnknown: total("forwarded_unknown", "megaphone_edge_forwarded_unknown_total",
		"Requests of trusted proxies without the client's address."),
	AddressUncounted: total("address_uncounted", "megaphone_edge_address_uncounted_total",
		"Connections without limits per address, because the table had no free entry."),
	DrainReleases: total("drain_releases", "megaphone_edge_drain_releases_total",
		"Holds that draining asked origins to release."),
	DrainCuts: total("drain_cuts", "megaphone_edge_drain_cuts_total", "Connections cut at the end of drain-timeout."),

	StreamsNow: levels("websockets_now", "megaphone_edge_websockets", "WebSocket clients connected."),
	StreamsOpened: total("websockets_opened", "megaphone_edge_websockets_opened_total",
		"WebSocket clients that an origin accepted."),
	MessagesIn:  messages.in("websocket_messages_in"),
	MessagesOut: messages.out("websocket_messages_out"),
	MessagesDelayed: total("websocket_messages_delayed", "megaphone_edge_websocket_delays_total",
		"Times that a WebSocket was read later because of max-message-rate."),
	PingsIn:         pings.in("websocket_pings_in"),
	PingsOut:        pings.out("websocket_pings_out"),
	ClosesNormal:    closes("1000"),
	ClosesGoingAway: closes("1001"),
	ClosesProtocol:  closes("1002"),
	ClosesBinary:    closes("1003"),
	ClosesNone:      closes("1005"),
	ClosesLost:      closes("1006"),
	ClosesText:      closes("1007"),
	ClosesPolicy:    closes("1008"),
	ClosesTooLarge:  closes("1009"),
	ClosesInternal:  closes("1011"),
	ClosesRestart:   closes("1012"),
	ClosesBusy:      closes("1013"),
	ClosesOther:     closes("other"),

	FramesIn:     frames.in("frames_in"),
	FramesOut:    frames.out("frames_out"),
	LinkBytesIn:  linkBytes.in("link_bytes_in"),
	LinkBytesOut: linkBytes.out("link_bytes_out"),
	LinkReads:    linkCalls.in("link_reads"),
	LinkWrites:   linkCalls.out("link_writes"),
	LinkConnects: total("link_connects", "megaphone_edge_link_connects_total", "Links connected."),
	LinksUp:      total("links_up", "megaphone_edge_link_welcomes_total", "Links that became ready for requests."),
	LinkFailures: total("link_failures", "megaphone_edge_link_failures_total", "Links lost or not connected."),
	LinkErrors: total("link_errors", "megaphone_edge_link_protocol_errors_total",
		"Links closed because of the origin's protocol error or silence."),
	AuthFailures: total("auth_failures", "megaphone_edge_link_auth_failures_total",
		"Links closed because edge and origin do not share the secret."),
	PingTimeouts: total("ping_timeouts", "megaphone_edge_link_ping_timeouts_total",
		"Links closed after ping-timeout without an answer."),
	UnknownVerbs: total("unknown_verbs", "megaphone_edge_unknown_verbs_total", "Unknown control lines of origins."),

	NotFound:        theirs("not_found", "not_found", "404: no such path"),
	MethodRefused:   theirs("method_refused", "method", "405: a method other than POST, GET, HEAD, OPTIONS"),
	LengthRequired:  theirs("length_required", "length_required", "411: a POST without a length"),
	EncodingRefused: theirs("encoding_refused", "encoding", "415: a compressed body"),
	HTTPErrors: theirs("http_errors", "http",
		"400, 413, 414, 417, 431, 501, 505: malformed HTTP, or over a limit"),
	BadBodies: theirs("bad_bodies", "bad_body", "bad-request: the body is not BOSH"),
	UnknownTags: theirs("unknown_tags", "unknown_tag",
		"item-not-found: a session of an origin that is not configured"),
	TooLarge:     theirs("too_large", "too_large", "413: larger than the origin accepts"),
	HeadTimeouts: theirs("head_timeouts", "head_timeout", "503: a head that did not come in head-timeout"),
	BodyTimeouts: theirs("body_timeouts", "body_timeout",
		"503: a body that came slower than body-timeout and body-min-rate allow"),
	WriteStalls: theirs("write_stalls", "write_stall", "closed: no byte of a reply left in write-timeout"),
	SlowReaders: theirs("slow_readers", "slow_reader", "closed: more than max-output-bytes unsent"),
	NodeGone: lacking("node_gone", "node_gone",
		"remote-connection-failed: the origin is gone for longer than grace"),
	Retries: lacking("retries", "retry", "503: the origin is away and expected back"),
	SessionsLost: lacking("sessions_lost", "session_lost",
		"item-not-found: the origin has restarted without the session"),
	LinkFull:  lacking("link_full", "link_full", "503: the origin does not keep up, link-high-water"),
	TableFull: lacking("table_full", "table_full", "503: no free hold"),
	CreateTimeouts: lacking("create_timeouts", "creation_timeout",
		"503: the origin did not answer a session creation in create-timeout"),
	CreateWaits: lacking("create_waits", "creation_wait",
		"503: no origin had room for a session creation in create-wait"),
	CreationsBusy: lacking("creations_busy", "creations_waiting",
		"503: max-waiting-creations are waiting, or there is no room for its bytes (4 KiB at most)"),
	Expired: lacking("expired", "hold_timeout", "504: the origin did not answer in hold-timeout"),
	OverBudget: lacking("over_budget", "over_budget",
		"503, or closed: the largest request or reply when max-buffered-bytes is reached"),
	ProxyUntrusted: theirs("proxy_untrusted", "proxy_untrusted",
		"closed: a PROXY listener, and the address is not in trusted-proxies"),
	ProxyMalformed: theirs("proxy_malformed", "proxy_malformed", "closed: no PROXY header, or a malformed one"),
	AddressConnections: theirs("address_connections", "address_connections",
		"429, or closed: max-connections-per-address"),
	AddressConnectionRate: theirs("address_connection_rate", "address_connection_rate",
		"429, or closed: max-connection-rate-per-address"),
	AddressRequests: theirs("address_requests", "address_requests",
		"429, and 503 to a session: max-request-rate-per-address"),
	SiteLimits: theirs("site_limits", "address_site",
		"429, 503 to a session, or closed: a limit of an IPv6 /48, ipv6-48-multiple"),
	HandshakesRefused: theirs("handshakes_refused", "handshake",
		"400, 405, 426: a request to the WebSocket endpoint that begins no WebSocket"),
	SitesRefused: theirs("sites_refused", "web_origin", "403: a WebSocket of a page that cors-origins does not list"),
	StreamsUnsupported: lacking("websockets_unsupported", "websocket_unsupported",
		"503: no origin takes WebSockets"),
	StreamsSilent: theirs("websockets_silent", "websocket_silent",
		"closed: a WebSocket did not answer a ping in websocket-ping-interval"),
	TLSPlainHTTP: theirs("tls_plain_http", "tls_plain_http", "400: plain HTTP on a listener with TLS"),
	TLSNotTLS:    theirs("tls_not_tls", "tls_not_tls", "closed: the first bytes are neither TLS nor HTTP"),
	TLSNoCommon: theirs("tls_no_common", "tls_no_common",
		"alert: the client has no version, cipher suite or protocol of the edge"),
	TLSByClient: theirs("tls_by_client", "tls_by_client",
		"closed by the client's alert: it does not trust the certificate, for example"),
	TLSBadHandshake: theirs("tls_bad_handshake", "tls_bad_handshake", "alert: the handshake violates the protocol"),
	TLSBadRecord:    theirs("tls_bad_record", "tls_bad_record", "alert: a record after the handshake is not valid"),
	TLSTimeouts: theirs("tls_timeouts", "tls_timeout",
		"closed: no TLS handshake in head-timeout, or in a second while others waited"),
	TLSAbandoned: theirs("tls_abandoned", "tls_abandoned", "closed by the client during the TLS handshake"),
	TLSInternal:  lacking("tls_internal", "tls_internal", "closed: an error of the edge in a TLS handshake"),
	Refused: refusal("refused",
		Refusal{Reason: "connections", What: "503: max-connections", Ours: true, Logged: true}),
}

// LinkFigure is a figure of a link, from one reactor to one origin.
type LinkFigure uint8

const (
	LinkUp LinkFigure = iota
	LinkDraining
	LinkHolds
	LinkUnsent
	NumLinkFigures
)

// Row returns the row of f.
func (f LinkFigure) Row() *Row { return &linkRows[f] }

var linkRows = [NumLinkFigures]Row{
	LinkUp: {Metric: "megaphone_edge_link_up", Kind: KindGauge, Labels: byLink,
		Help: "1 if requests may be sent over this link."},
	LinkDraining: {Metric: "megaphone_edge_link_draining", Kind: KindGauge, Labels: byLink,
		Help: "1 if no new sessions go over this link."},
	LinkHolds: {Metric: "megaphone_edge_link_holds", Kind: KindGauge, Labels: byLink,
		Help: "Requests that the origin has not answered yet."},
	LinkUnsent: {Metric: "megaphone_edge_link_unsent_bytes", Kind: KindGauge, Labels: byLink,
		Help: "Bytes that wait for the origin to read."},
}

// OriginFigure is a figure of an origin, which all reactors share.
type OriginFigure uint8

const (
	OriginCreations OriginFigure = iota
	OriginMaxCreations
	OriginFailedCreations
	OriginEjected
	OriginEjections
	OriginShare
	NumOriginFigures
)

// FullShare is OriginShare of an origin that has its full share.
const FullShare = 256

// Row returns the row of f.
func (f OriginFigure) Row() *Row { return &originRows[f] }

var originRows = [NumOriginFigures]Row{
	OriginCreations: {Metric: "megaphone_edge_origin_creations", Kind: KindGauge, Labels: byOrigin,
		Help: "Session creations in progress."},
	OriginMaxCreations: {Metric: "megaphone_edge_origin_creations_max", Kind: KindGauge, Labels: byOrigin,
		Help: "Measured bound on session creations in progress."},
	OriginFailedCreations: {Metric: "megaphone_edge_origin_creations_failed_total", Kind: KindCounter,
		Labels: byOrigin,
		Help:   "Failed session creations: 5xx, a page, a server's condition, or no answer within create-timeout."},
	OriginEjected: {Metric: "megaphone_edge_origin_ejected", Kind: KindGauge, Labels: byOrigin,
		Help: "1 while an origin gets only trial sessions, because its creations fail."},
	OriginEjections: {Metric: "megaphone_edge_origin_ejections_total", Kind: KindCounter, Labels: byOrigin,
		Help: "Ejections of an origin."},
	OriginShare: {Metric: "megaphone_edge_origin_share", Kind: KindGauge, Labels: byOrigin, per: FullShare,
		Help: "Fraction of the origin's weight that counts for new sessions: less than 1 in its slow-start."},
}

// Times is a figure that is a distribution of times.
type Times uint8

const (
	HoldTimes     Times = iota // over all origins
	CreationTimes              // of one origin, as RoundTrips are
	RoundTrips
	NumTimes
)

// Row returns the row of t.
func (t Times) Row() *Row { return &timesRows[t] }

// Upper bounds of the buckets of histograms, in microseconds. Both rise by a factor of about two, at round numbers that
// a person would ask for.
var (
	// latencyBounds are for requests that an origin answers at once: 0.1 ms to 10 s.
	latencyBounds = []uint64{100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
		1_000_000, 2_500_000, 5_000_000, 10_000_000}
	// holdBounds are for long polls: 10 ms to ejabberd's longest wait, finest around the usual wait of a minute.
	holdBounds = []uint64{10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
		10_000_000, 20_000_000, 30_000_000, 45_000_000, 60_000_000, 75_000_000, 120_000_000, 180_000_000, 300_000_000}
)

var timesRows = [NumTimes]Row{
	HoldTimes: {Metric: "megaphone_edge_hold_seconds", Kind: KindHistogram, bounds: holdBounds,
		Help: "Time from parking a request to the origin's reply: for a long poll usually its session's wait."},
	CreationTimes: {Metric: "megaphone_edge_origin_latency_seconds", Kind: KindHistogram, Labels: byOrigin,
		Help:   "Time from parking a session creation to its reply, which an origin sends at once.",
		bounds: latencyBounds},
	RoundTrips: {Metric: "megaphone_edge_link_round_trip_seconds", Kind: KindHistogram, Labels: byOrigin,
		Help: "Time from a ping to its pong, including queues of the link.", bounds: latencyBounds},
}
