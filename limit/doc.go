// Package limit counts the activity of each client address in a table of fixed size, and decides when it exceeds its
// limits: connections at once, new connections a second, requests a second.
//
// # One table for all reactors
//
// The kernel's hash spreads the connections of one address over the reactors, and unevenly. With a limit of 10 and 56
// reactors no share per reactor would be right. So this table is the only thing that reactors share. They touch it when
// a connection opens or closes, and once a request, and only if limits are set. It has no locks, because a reactor that
// the kernel takes off its core must not hold up the others. Each step is one compare-and-swap of one word.
//
//	hash of address -> set of 8
//	                   who    | tag 40, connections 24 | ... 8 words, one cache line
//	                   rates  | connections' time, requests' time | ... 8 pairs
//
// An address is identified by its hash, seeded per process, so a client cannot choose addresses that fall into one set.
// Two addresses of a set are confused with a probability of 2^-40. Of IPv6 only the first 64 bits count, because a
// client with one IPv6 address has 2^64 of them. Many clients even have a /48, a site, with 65,536 such networks. So
// the site has its own entry with its own limits, and its refusals do not count against the address.
//
// # Entries
//
// An entry with connections keeps its number. A connection that remembers the number finds its entry without a hash. An
// entry without connections whose rates are both at rest equals a fresh one, so it can be reused for another address
// without loss.
//
// When a set has neither room nor such an entry, the idlest entry without connections is reused, and its address gets
// its rates back a little sooner. When all eight have connections, the new connection is admitted and not counted
// (Uncounted). Sharing an entry instead would punish clients for their neighbours' hash.
//
// With four times as many entries as connections, the table is at most half full, even if all addresses have different
// sites. Then one or two connections in a hundred meet a full set, and limits per address have nothing to do.
//
// # Rates
//
// A rate is a token bucket in one word (GCRA): the time at which the bucket would be full again. A request advances it
// by the time that one request costs. It is refused if the result is more than a whole bucket ahead. Refusals cost
// nothing, so a client above the rate is held to it and not shut out.
//
// # Exactness
//
// Connections are counted exactly, because opening and closing change one word that also has the owner's tag. Two
// reactors that meet the same new address in the same instant choose the same slot, and the later one finds the entry
// of the earlier one. A rate may be off by a token if an entry is reused in between.
//
// # Costs
//
// 24 bytes an entry, 4 entries a connection, no allocation after New. In nanoseconds on the 2-core build machine: 60 to
// open and close, 4 for a request of a connection, 55 for a request of an address that must be looked up; twice as much
// with a site.
package limit
