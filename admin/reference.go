package admin

import (
	"fmt"
	"strings"

	"megaphone/edge"
)

// Reference is docs/metrics.md: every metric with its kind, its labels and what it is.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

What /metrics of an edge's admin endpoint says, in Prometheus' text format. Times are in seconds and sizes in
bytes, as the names say; a name in _total counts from the start of the process. Figures are at most a tenth of a
second old. What has a label "reactor" is there for each event loop: "sum without (reactor)" is the edge.

Compressed (gzip) for clients that ask for it, as Prometheus does.

This file is written by "UPDATE=1 go test ./admin -run Reference", from the table that the metrics are made of.

| metric | kind | labels | what it is |
|---|---|---|---|
`)
	for _, m := range metrics {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), m.help)
	}
	b.WriteString(`
## Of every Go program

These are of Prometheus' library for Go, so that dashboards for any Go program show an edge as well. Only the
two of descriptors, above, are ours: /proc/self/fd does not show the descriptor tables that reactors have of their
own. Bytes of the network are all of the edge's network namespace, the host's in most cases.

| metric | kind | what it is |
|---|---|---|
`)
	families, _ := standard().Gather() // those that this host cannot tell are missing, and the test says so
	for _, f := range families {
		help, _, _ := strings.Cut(f.GetHelp(), ". ")
		fmt.Fprintf(&b, "| `%s` | %s | %s. |\n", f.GetName(), strings.ToLower(f.GetType().String()),
			strings.TrimSuffix(help, "."))
	}
	b.WriteString(`
## Reasons of refusals

The label "reason" of megaphone_edge_refusals_total. The log has one record a reason and ten seconds, with the
count; those for want of something on our side are warnings there, and worth an alert.

| reason | whose fault | what it is |
|---|---|---|
`)
	for _, r := range edge.Refusals {
		whose := "the client's"
		if r.Ours {
			whose = "ours"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Reason, whose, r.What)
	}
	b.WriteString(`
## Two latencies of an origin

A long poll is answered when there is something to say, so how long it is held does not tell how fast the origin is.
Two things do. A session creation is answered at once: megaphone_edge_origin_latency_seconds has the time from its
parking to its reply. And every third of ping-timeout each link is pinged, busy or not:
megaphone_edge_link_round_trip_seconds has the way there and back, behind what is queued in both directions, and
without a session's work. If both rise, the link or the origin's scheduler is behind; if only the first does, look at
what creates sessions.

Times are measured with one reading of the clock a turn, so they are exact to a turn of the reactor, which takes well
below a millisecond unless it is overloaded.

## Who may read

Whoever reaches the address; by default that is this host. On a loopback address the Host must be an IP address or
localhost, so that no web page reaches it by a name that was made to mean 127.0.0.1 (DNS rebinding). Profiles
(/debug/pprof/) and orders (POST /drain?origin=NAME&on=true) are taken over the unix socket only, which is for root and
the edge's own user and group. An edge that has none (admin-socket: off) takes them from loopback addresses, that is
from any user of the host. An order that carries what browsers add to requests of web pages (Origin, Referer,
Sec-Fetch-Site) is refused. A profile takes 60 seconds at most, and is not made for a page of another site.
`)
	return b.String()
}
