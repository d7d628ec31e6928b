// Package table keeps the state of all connections of a reactor in flat, preallocated tables: connection slots, hold
// slots, and a timing wheel that is threaded through the connection slots.
//
// # Why tables
//
// If a million connections were heap objects, the garbage collector would scan each of them, and each accept would
// allocate. Here all memory for the configured maximum is allocated once. It contains no pointers, so the collector
// skips all of it. Everything refers to everything else by a 32-bit index. Nothing grows: full is an ordinary result
// that the caller has a rule for.
//
//	Conns, 64 bytes a slot                                     Holds, 24 bytes a slot
//	+-----+                                                    +-----+
//	|  0  | never used: index 0 means none                     |  0  | never used
//	+-----+            First (oldest)                          +-----+
//	|  1  |--------------------------------------------------->|  1  |--next--+
//	|     |            Last (youngest)                         +-----+        |
//	|     |----------------------------------------------+     |  2  |        |
//	+-----+<--Conn--- (each hold names its connection)   |     +-----+        |
//	|  2  |                                              +---->|  3  |<-------+
//	+-----+                                                    +-----+
//	|  3  | free --next--> 7 --next--> 4 (freed last)          |  4  | free, queued likewise
//	+-----+                                                    +-----+
//	| ... |                                                    | ... |
//	+-----+ <- fresh: from here on never used, not yet         +-----+
//	          backed by memory
//
// # Handles
//
// An index alone would name whatever is in the slot now. A Handle is the index and the slot's generation, which is
// incremented each time the slot is taken into use:
//
//	63            32 31             0
//	+---------------+---------------+
//	|  generation   |     index     |     both 1 or more; the zero Handle names nothing
//	+---------------+---------------+
//
// The handle of a hold goes out on the wire as the connection ID. The reply brings it back, and Resolve finds the hold
// by indexing: no hash, no probing, no collision. A reply to a hold that has ended meets another generation, and
// Resolve returns nil. Any 64-bit number may be resolved; only one that names a live slot gives a result.
//
// Free slots are reused oldest first. With C slots, L of them live, a slot is reused after C-L other uses, and its
// generation repeats after 2^32 of those. With 20,000 slots, half of them live, and 100,000 requests a second, that
// takes 13 years.
//
// # The FIFO of holds
//
// HTTP answers leave a connection in the order of its requests (RFC 9112, section 9.3.2), whatever order the origin's
// replies arrive in. So the holds of a connection form a FIFO: Park appends, First is the one whose answer may leave,
// Pop frees it. The owner remembers an early reply in Hold.Stowed. Without pipelining the FIFO has one element.
//
// # The wheel
//
// A deadline is an absolute tick, a number that the caller counts; this package knows no clock. The wheel has four
// levels of 64 buckets. The distance of a deadline determines its level, and one of its base-64 digits the bucket:
//
//	deadline = .. 3a 07 2c 11      ahead (ticks)           bucket          a bucket is
//	               |  |  |  +----- less than         64    level 0, 11     one tick
//	               |  |  +-------- less than      4,096    level 1, 2c     64 ticks
//	               |  +----------- less than    262,144    level 2, 07     4,096 ticks
//	               +-------------- less than 16,777,216    level 3, 3a     262,144 ticks
//	                               more                    the far list    16,777,216 ticks
//
//	far [#] --+   when now passes a multiple of 1<<24
//	          v
//	level 3 [ | |#| |#| ... ]
//	              |  entering a bucket scatters it over the levels below
//	level 2 [ |#| | | | ... ]
//	            v
//	level 1 [ | | |#|#| ... ]
//	                v
//	level 0 [#|#| | |#| ... ] ---> due ---> Expired
//	                               late -----^ at the next Advance: armed with a deadline already passed
//
// The lists are circles through the slots' own next and prev, closed by a head for each bucket (heads have numbers from
// 1<<31 on). So arming and disarming are a few writes, need no memory, and do not depend on the number of armed
// connections. A word of 64 bits per level marks the buckets that are not empty.
//
// Advance takes passed buckets whole, by joining the circles, and scatters only the buckets that it enters. A step of
// an hour costs as much as a step of a tick, plus one move for each connection in at most four lists. A connection
// moves at most once per level. Most never move, because the next request re-arms them first. One scatter moves the
// connections that expire within one bucket's time. With 500,000 connections in random order in memory and timeouts of
// 600 ticks that takes about 10 ms at one tick in 64.
//
// Ticks are 32 bits and may wrap. A deadline is at most maxTicks (2^31-1) ahead, and so is a step of Advance; with
// ticks of 100 ms that is 6.8 years. Deadline 0 means not armed, so a deadline that falls on tick 0 becomes tick 1.
//
// # Costs
//
//	connection  64 bytes, one cache line, armed or not
//	hold        24 bytes
//	wheel        2 KiB a table
//
// Park, Pop, Resolve, Arm, Disarm and Expired take constant time. Nothing in this package allocates after its
// constructors. Tables are not safe for concurrent use: each reactor has its own.
//
// # Checks
//
// Under the build tag invariants a check of the whole table follows every change; above 4,096 slots it covers only the
// changed ones. Freed slots are filled with 0xCC, which is checked when they are reused. Freeing twice, freeing an
// armed connection or one with holds, and popping from an empty FIFO panic in every build.
package table
