package edge

// Counter names one of a reactor's counters.
type Counter uint8

const (
	Requests              Counter = iota // complete HTTP requests
	Parked                               // requests handed to an origin
	Released                             // answered by the origin
	Gone                                 // clients that closed while held
	Expired                              // holds that no origin answered in HoldTimeout
	StaleReplies                         // replies to holds that no longer exist
	FramesOut                            // frames to origins
	FramesIn                             // frames from origins
	Preflights                           // OPTIONS answered
	Pages                                // GET and HEAD answered
	NotFound                             // 404
	MethodRefused                        // 405
	LengthRequired                       // 411
	EncodingRefused                      // 415
	HTTPErrors                           // malformed or over a limit: 400, 413, 414, 417, 431, 501, 505
	BadBodies                            // bad-request from the edge
	UnknownTags                          // item-not-found from the edge
	NodeGone                             // remote-connection-failed from the edge
	Retries                              // 503 while an origin is expected back
	LinkFull                             // 503 because a link was above its high-water mark
	TableFull                            // 503 because no hold was free
	TooLarge                             // 413 because the origin's maximum is lower
	HeadTimeouts                         // 503
	BodyTimeouts                         // 503
	IdleTimeouts                         // idle connections closed
	WriteStalls                          // connections closed because no byte left
	ContentOverflow                      // replies of content types that there was no room to learn
	LinksUp                              // links welcomed
	LinkErrors                           // links closed for a protocol error of the origin
	AuthFailures                         // links whose other end does not know the secret
	PingTimeouts                         // links closed because they were silent
	UnknownVerbs                         // control lines not understood
	ProxyUntrusted                       // connections closed that may not send a PROXY header
	ProxyMalformed                       // connections closed that did not begin with one
	ForwardedUnknown                     // requests of trusted proxies that do not name their client
	AddressConnections                   // connections above the number that an address may have
	AddressConnectionRate                // connections above the rate of an address
	AddressRequests                      // requests above the rate of an address: 429, 503
	SiteLimits                           // the same three for the limits of an IPv6 /48; not counted in them
	AddressUncounted                     // connections exempt from all limits because no table entry was free
	DrainReleases                        // holds that origins were asked to release, while draining
	DrainCuts                            // connections still open at the end of DrainTimeout
	AccessDropped                        // access log records dropped because the queue was full
	SessionsLost                         // item-not-found for sessions of an origin's earlier instance
	Waited                               // requests that waited for an origin that was away
	CreationsWaited                      // session creations that no origin had room for at once
	CreationsBusy                        // 503: and there was no room to wait
	CreateWaits                          // 503: and no origin had room within CreateWait
	CreateTimeouts                       // 503: no reply to a session creation in CreateTimeout
	CreationsWaiting                     // gauge: session creations that wait
	HeldNow                              // gauge: requests being held
	WaitingNow                           // gauge: of these, the ones that no origin has
	numCounters
)

// CounterNames gives each counter's name in snake case, in the order of the constants.
var CounterNames = [numCounters]string{
	"requests", "parked", "released", "gone", "expired", "stale_replies", "frames_out", "frames_in", "preflights",
	"pages", "not_found", "method_refused", "length_required", "encoding_refused", "http_errors", "bad_bodies",
	"unknown_tags", "node_gone", "retries", "link_full", "table_full", "too_large", "head_timeouts", "body_timeouts",
	"idle_timeouts", "write_stalls", "content_overflow", "links_up", "link_errors", "auth_failures", "ping_timeouts",
	"unknown_verbs", "proxy_untrusted", "proxy_malformed", "forwarded_unknown", "address_connections",
	"address_connection_rate", "address_requests", "site_limits", "address_uncounted", "drain_releases",
	"drain_cuts", "access_dropped", "sessions_lost", "waited", "creations_waited", "creations_busy", "create_waits",
	"create_timeouts", "creations_waiting", "held_now", "waiting_now",
}
