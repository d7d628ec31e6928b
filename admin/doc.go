// Package admin shows an edge to those who run it: metrics for Prometheus, health, profiles, a status in JSON, and a
// page for people. It has an address of its own, apart from that of the clients.
//
// It reads what the reactors have posted on their boards with their last tick (edge.View), so looking costs the
// reactors nothing, and a reactor that hangs cannot hang what shows that it does.
//
// One table (metrics) has what an edge counts; docs/metrics.md and the tests of dashboard and alerts come from it.
// Prometheus' own library reads it at each scrape, writes the format, compresses it, and adds what every Go program
// has. The numbers stay on the boards: the library's own counters would keep them a second time.
//
// # Who may do what
//
// Whoever reaches the address may read; by default that is this host. Profiles and orders (POST) are for this host
// only: they are taken over the unix socket, and over TCP from a loopback address.
//
// A browser on this host is a way in for every page that it shows. So on a loopback listener the Host must be an IP
// address or localhost (a name that was rebound to 127.0.0.1 is refused), and an order that carries what browsers add
// to requests of pages (Origin, Referer, Sec-Fetch-Site) is refused wherever it comes from. The page itself gives no
// orders.
package admin
