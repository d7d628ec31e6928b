package admin

import (
	"fmt"
	"strings"

	"megaphone/stats"
)

// reference returns docs/metrics.md: every metric with its kind, labels and meaning.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

The metrics at /metrics of an edge's admin endpoint, in Prometheus' text format. Times are in seconds and sizes in
bytes, as in the names; a name in _total counts from the start of the process. Figures are at most a tenth of a
second old. Metrics with a label "reactor" have one sample per event loop; "sum without (reactor)" is the edge.

Responses are compressed (gzip) for clients that ask for it, such as Prometheus.

"UPDATE=1 go test ./admin -run Reference" writes this file from the table of figures in the code.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	for r := range stats.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Metric, r.Kind, strings.Join(r.Labels, ", "), r.Help)
	}
	referToStandard(&b)
	referToRefusals(&b)
	b.WriteString(closingReference)
	return b.String()
}

// referToStandard writes the part on the metrics of every Go program.
func referToStandard(b *strings.Builder) {
	b.WriteString(`
## Of every Go program

These come from Prometheus' library for Go, so dashboards for any Go program show an edge as well. Only the two of
descriptors, above, are the edge's own, because /proc/self/fd does not show the private descriptor tables of reactors.
Network bytes cover the edge's whole network namespace, usually the host's.

| metric | kind | meaning |
|---|---|---|
`)
	families, _ := standard().Gather() // metrics that this host cannot supply are missing, and the test reports that
	for _, f := range families {
		help, _, _ := strings.Cut(f.GetHelp(), ". ")
		fmt.Fprintf(b, "| `%s` | %s | %s. |\n", f.GetName(), strings.ToLower(f.GetType().String()),
			strings.TrimSuffix(help, "."))
	}
}

// referToRefusals writes the part on the reasons of refusals.
func referToRefusals(b *strings.Builder) {
	b.WriteString(`
## Reasons of refusals

The label "reason" of megaphone_edge_refusals_total. The log has one record per reason and ten seconds, with the
count. Refusals because the edge's side lacks something are warnings there, and worth an alert.

| reason | whose fault | meaning |
|---|---|---|
`)
	for _, r := range stats.Refusals() {
		whose := "the client's"
		if r.Ours {
			whose = "the edge's side"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.Reason, whose, r.What)
	}
}

const closingReference = `
## Two latencies of an origin

A long poll is answered when there is a message, so its duration does not show how fast the origin is. Two other
metrics do. The origin answers a session creation at once: megaphone_edge_origin_latency_seconds has the time from
parking it to its reply. And the edge pings each link every third of ping-timeout, busy or not:
megaphone_edge_link_round_trip_seconds has the round trip, including queues in both directions, but without a session's
work. If both rise, the link or the origin's scheduler is behind. If only the first rises, look at the creation of
sessions.

The clock is read once per turn, so times are exact to a turn of the reactor. A turn takes well below a millisecond
unless the reactor is overloaded.

## Permissions

Every client that reaches the address may read; by default that is this host. On a loopback address the Host must be an
IP address or localhost, so that no web page reaches it by a name that was rebound to 127.0.0.1 (DNS rebinding).

Profiles (/debug/pprof/) and commands (POST /drain?origin=NAME&on=true) are accepted only over the unix socket, which is
for root and the edge's own user and group. An edge without one (admin-socket: off) accepts them from loopback
addresses, that is from any user of the host. A command with the headers that browsers add to requests of web pages
(Origin, Referer, Sec-Fetch-Site) is refused. A profile takes 60 seconds at most, and is refused to a page of another
site.
`
