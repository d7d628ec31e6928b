package admin

import (
	"runtime"

	"megaphone/edge"
	"megaphone/loop"
)

func edgeCount(c edge.Counter) func(v *edge.View) uint64 {
	return func(v *edge.View) uint64 { return v.Edge(c) }
}

func loopCount(c loop.Counter) func(v *edge.View) uint64 {
	return func(v *edge.View) uint64 { return v.Loop(c) }
}

// metrics is every metric of an edge but those that every Go program has (see gatherer). What has a label reactor is
// there for each of them, as one that is loaded more than its siblings is worth seeing; the rest are sums over the
// reactors.
var metrics = []metric{
	{"megaphone_edge_build_info", gauge, []string{"version", "go"}, "Always 1; what runs is in the labels.",
		func(to *samples, s *Status) { to.put(1, s.Version, runtime.Version()) }},
	single("megaphone_edge_config_hash", gauge, "A number that changes with the configuration in force; 48 bits.",
		func(s *Status) float64 { return float64(s.view.ConfigHash & (1<<48 - 1)) }),
	single("megaphone_edge_start_time_seconds", gauge, "When the edge started, in seconds since 1970.",
		func(s *Status) float64 { return float64(s.view.Started.UnixMilli()) / 1000 }),
	single("megaphone_edge_ready", gauge, "1 if /readyz says 200.", func(s *Status) float64 { return truth(s.Ready) }),
	single("megaphone_edge_draining", gauge, "1 while the edge takes leave of its clients.",
		func(s *Status) float64 { return truth(s.Draining) }),

	byReactor("megaphone_edge_connections", gauge, "Clients connected.",
		func(r *edge.ReactorView) uint64 { return r.Loop[loop.OpenNow] }),
	single("megaphone_edge_connections_max", gauge, "max-connections, over all reactors.",
		func(s *Status) float64 { return float64(s.view.Limits.MaxConnections) }),
	byReactor("megaphone_edge_holds", gauge, "Requests being held.",
		func(r *edge.ReactorView) uint64 { return r.Edge[edge.HeldNow] }),
	single("megaphone_edge_holds_max", gauge, "Room for held requests, over all reactors.",
		func(s *Status) float64 { return float64(s.view.Limits.MaxHolds) }),
	byReactor("megaphone_edge_requests_total", counter, "Complete HTTP requests.",
		func(r *edge.ReactorView) uint64 { return r.Edge[edge.Requests] }),
	byReactor("megaphone_edge_turns_total", counter, "Turns of the event loops that had something to finish.",
		func(r *edge.ReactorView) uint64 { return r.Loop[loop.Turns] }),
	byReactor("megaphone_edge_buffered_bytes", gauge, "Bytes kept for connections: partial requests, unsent replies.",
		func(r *edge.ReactorView) uint64 { return r.Loop[loop.BufferedNow] }),
	single("megaphone_edge_buffered_max_bytes", gauge, "max-buffered-bytes, the bound of each reactor.",
		func(s *Status) float64 { return float64(s.view.Limits.MaxBufferedBytes) }),

	ofEdge("megaphone_edge_holds_parked_total", "Requests handed to an origin.", edge.Parked),
	ofEdge("megaphone_edge_holds_released_total", "Held requests that the origin answered.", edge.Released),
	ofEdge("megaphone_edge_holds_gone_total", "Held requests whose client went away.", edge.Gone),
	{"megaphone_edge_hold_seconds", histogram, nil,
		"From the parking of a request to the origin's reply: for a long poll mostly its session's wait.",
		func(to *samples, s *Status) { to.distribution(&s.view.Holds) }},
	ofEdge("megaphone_edge_preflights_total", "CORS preflights answered.", edge.Preflights),
	ofEdge("megaphone_edge_pages_total", "GET and HEAD requests answered with a page of the edge.", edge.Pages),
	{"megaphone_edge_refusals_total", counter, []string{"reason"},
		"Requests and connections that were not served; reasons below.",
		func(to *samples, s *Status) {
			for _, r := range edge.Refusals {
				to.put(float64(r.Count(s.view)), r.Reason)
			}
		}},
	ofEdge("megaphone_edge_idle_timeouts_total", "Idle kept-alive connections closed after idle-timeout.",
		edge.IdleTimeouts),
	ofEdge("megaphone_edge_content_overflows_total",
		"Replies of a content type for which there is no room among those that are remembered.",
		edge.ContentOverflow),

	ofLoop("megaphone_edge_accepted_connections_total", "Connections accepted.", loop.Accepted),
	ofLoop("megaphone_edge_closed_connections_total", "Connections closed, for whatever reason.", loop.Closed),
	ofLoop("megaphone_edge_accept_failures_total", "accept4 failed, for want of descriptors or memory mostly.",
		loop.AcceptFailures),
	ofLoop("megaphone_edge_accept_pauses_total", "Times that accepting stopped for a back-off.", loop.AcceptPauses),
	byDirection("megaphone_edge_client_bytes_total", "Bytes from (in) and to (out) clients.",
		loopCount(loop.BytesIn), loopCount(loop.BytesOut)),
	byDirection("megaphone_edge_client_calls_total", "Read (in) and write (out) system calls on client connections.",
		loopCount(loop.Reads), loopCount(loop.Writes)),
	ofLoop("megaphone_edge_short_writes_total", "Writes to clients that left bytes behind.", loop.ShortWrites),
	ofLoop("megaphone_edge_stray_events_total", "Events of descriptors without a connection.", loop.StrayEvents),

	byLink("megaphone_edge_link_up", "1 if requests may be sent over this link.",
		func(l edge.LinkView) uint64 { return uint64(truth(l.Up)) }),
	byLink("megaphone_edge_link_draining", "1 if no new sessions go over this link.",
		func(l edge.LinkView) uint64 { return uint64(truth(l.Draining)) }),
	byLink("megaphone_edge_link_holds", "Requests that the origin has and has not answered.",
		func(l edge.LinkView) uint64 { return l.Held }),
	byLink("megaphone_edge_link_unsent_bytes", "Bytes that wait for the origin to read.",
		func(l edge.LinkView) uint64 { return l.Unsent }),
	single("megaphone_edge_link_high_water_bytes", gauge, "link-high-water: above it new requests get 503.",
		func(s *Status) float64 { return float64(s.view.Limits.LinkHighWater) }),
	byOrigin("megaphone_edge_origin_latency_seconds",
		"From the parking of a session creation to its reply: what an origin answers at once.",
		func(o *edge.OriginView) *edge.Histogram { return &o.Latency }),
	byOrigin("megaphone_edge_link_round_trip_seconds",
		"From a ping to its pong, over the link and behind what is queued there.",
		func(o *edge.OriginView) *edge.Histogram { return &o.RoundTrip }),
	byDirection("megaphone_edge_frames_total", "Frames from (in) and to (out) origins.",
		edgeCount(edge.FramesIn), edgeCount(edge.FramesOut)),
	byDirection("megaphone_edge_link_bytes_total", "Bytes from (in) and to (out) origins.",
		loopCount(loop.LinkBytesIn), loopCount(loop.LinkBytesOut)),
	byDirection("megaphone_edge_link_calls_total", "Read (in) and write (out) system calls on links.",
		loopCount(loop.LinkReads), loopCount(loop.LinkWrites)),
	ofLoop("megaphone_edge_link_connects_total", "Links connected.", loop.LinkConnects),
	ofEdge("megaphone_edge_link_welcomes_total", "Links that came so far that requests could be sent.", edge.LinksUp),
	ofLoop("megaphone_edge_link_failures_total", "Links lost, or not reached.", loop.LinkFailures),
	ofEdge("megaphone_edge_link_protocol_errors_total", "Links closed for what the origin sent, or did not.",
		edge.LinkErrors),
	ofEdge("megaphone_edge_link_auth_failures_total", "Links to an origin that does not know the secret.",
		edge.AuthFailures),
	ofEdge("megaphone_edge_link_ping_timeouts_total", "Links given up because they were silent.", edge.PingTimeouts),
	ofEdge("megaphone_edge_stale_replies_total", "Replies to holds that were not there any more.", edge.StaleReplies),
	ofEdge("megaphone_edge_unknown_verbs_total", "Control lines of origins that were not understood.",
		edge.UnknownVerbs),
	ofEdge("megaphone_edge_forwarded_unknown_total",
		"Requests of trusted proxies that do not say whose they are.", edge.ForwardedUnknown),
	ofEdge("megaphone_edge_address_uncounted_total",
		"Connections that no limit for each address was held for, for want of an entry.", edge.AddressUncounted),
	ofEdge("megaphone_edge_drain_releases_total", "Holds that origins were asked to release, while draining.",
		edge.DrainReleases),
	ofEdge("megaphone_edge_drain_cuts_total", "Connections that were not done at the end of drain-timeout.",
		edge.DrainCuts),
	ofLoop("megaphone_edge_log_dropped_total", "Log records of reactors dropped because the queue was full.",
		loop.LogDropped),
	ofEdge("megaphone_edge_access_log_dropped_total", "Access log records dropped because the queue was full.",
		edge.AccessDropped),
	ofLoop("megaphone_edge_dialled_connections_total", "Client connections that the edge opened itself: none.",
		loop.Dialled),

	single("megaphone_edge_open_descriptors", gauge, "Open descriptors in all descriptor tables, as far as counted.",
		func(s *Status) float64 { return float64(s.Descriptors.Open) }),
	single("megaphone_edge_max_descriptors", gauge, "RLIMIT_NOFILE times the number of descriptor tables.",
		func(s *Status) float64 { return float64(s.Descriptors.Max) }),
	single(openDescriptors, gauge, "Number of open file descriptors, in all descriptor tables.",
		func(s *Status) float64 { return float64(s.Descriptors.Open) }),
	single(maxDescriptors, gauge, "Maximum number of open file descriptors, over all descriptor tables.",
		func(s *Status) float64 { return float64(s.Descriptors.Max) }),
}
