// Package admin shows an edge to its operators: metrics for Prometheus, health, profiles, a status in JSON, and a web
// page. It has its own address, apart from that of the clients.
//
// It reads the figures that the reactors posted on their boards with their last tick (edge.View). So reading costs the
// reactors nothing, and a reactor that hangs cannot hang the endpoint that shows it.
//
// Package stats has the table of all figures; docs/metrics.md and the tests of dashboard and alerts derive from it.
// Prometheus' own library reads it at each scrape, writes the format, compresses it, and adds the metrics of every Go
// program. The numbers stay on the boards, because the library's own counters would store them a second time.
//
// # Permissions
//
// Every client that reaches the address may read; by default that is this host. Profiles and commands (POST) are for
// this host only: they are accepted over the unix socket, and over TCP from a loopback address.
//
// A browser on this host gives access to every page that it shows. So on a loopback listener the Host must be an IP
// address or localhost; a name that was rebound to 127.0.0.1 is refused. A command with the headers that browsers add
// to requests of pages (Origin, Referer, Sec-Fetch-Site) is refused wherever it comes from. The page itself sends no
// commands.
package admin
