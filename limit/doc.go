// Package limit counts what each client address does, in a table of fixed size, and says when it is too much:
// connections at once, new connections a second, requests a second.
//
// # One table for all reactors
//
// The connections of one address are spread over the reactors by the kernel's hash, and unevenly: with a limit of
// 10 and 56 reactors there is no share of a reactor that is right. So this is the one thing that reactors share,
// and they touch it when a connection comes or goes, and once a request, only where limits are set. It has no
// locks: a reactor that the kernel takes off its core must not hold up the others. Each step is one
// compare-and-swap of one word.
//
//	hash of address -> set of 8
//	                   who    | tag 40, connections 24 | ... 8 words, one cache line
//	                   rates  | connections' time, requests' time | ... 8 pairs
//
// An address is the hash of it, with a seed of the process: nobody can choose addresses that meet in a set. Two
// of a set are taken for one with a probability of 2^-40. Of IPv6 the first 64 bits count: who has an IPv6
// address has 2^64 of them. And many have a /48, a site, with 65,536 such networks: so the site has an entry of its
// own, with limits of its own, and what it refuses is not held against the address.
//
// # Entries
//
// An entry with connections stays, and its number with it, so a connection that remembers the number finds its
// entry without a hash. An entry without connections, whose rates are both at rest, says nothing that a fresh one
// would not say: it is taken for another address without loss. When a set has neither room nor such an entry, the
// idlest of those without connections is taken, and its address has its rates back a little sooner. When all
// eight have connections, the newcomer is let pass and not counted (Uncounted). The other choice would be to
// share an entry, which would punish the innocent for their neighbours' hash. With four times as many entries as
// connections, the table is at most half full, also if all have different sites, and one or two connections in a
// hundred meet a full set then; and a limit for each has nothing to do.
//
// # Rates
//
// A rate is a token bucket in one word (GCRA): the time at which the bucket would be full again. A request moves
// it on by the time that one costs; it is refused when that lies further ahead than a whole bucket. Refusals cost
// nothing, so who is above the rate is held to it and not shut out.
//
// # Exactness
//
// Connections are counted exactly: opening and closing change one word that also says whose it is. Two reactors
// that meet the same new address in the same instant choose the same place, and the later one finds what the
// earlier one has made. A rate may be off by a token when an entry changes hands in between.
//
// # Costs
//
// 24 bytes an entry, 4 entries a connection, no allocation after New. In nanoseconds on the 2-core build machine:
// 60 to open and close, 4 a request of a connection, 55 one of an address that must be looked for; twice as much with a
// site.
package limit
