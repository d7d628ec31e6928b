package loop

import "sync/atomic"

// Counter identifies one of a reactor's counters.
type Counter uint8

const (
	Accepted       Counter = iota // connections accepted
	Dialled                       // connections that Dial has started
	Closed                        // connections closed, for any reason
	Refused                       // connections beyond MaxConnections, refused with an answer
	AcceptFailures                // failed accept4 calls: no descriptors, no memory, or a connection lost early
	AcceptPauses                  // pauses of accepting
	Turns                         // turns that had something to finish
	Reads                         // read system calls on clients
	Writes                        // write system calls to clients
	ShortWrites                   // writes to clients that left bytes unsent
	BytesIn                       // from clients
	BytesOut                      // to clients
	LinkReads                     // read system calls on links
	LinkWrites                    // write system calls to links: one a turn and dirty link
	LinkBytesIn
	LinkBytesOut
	LinkConnects // links that came up
	LinkFailures // links lost or not reached
	SlowReaders  // connections closed because of MaxOutputBytes
	OverBudget   // connections that lost a buffer to MaxBufferedBytes
	StrayEvents  // events for descriptors without a connection
	OpenNow      // gauge: clients connected
	BufferedNow  // gauge: bytes kept for connections
	numCounters
)

// NumCounters is the number of counters.
const NumCounters = int(numCounters)

// CounterNames has each counter's name in snake case, in the order of the constants.
var CounterNames = [numCounters]string{
	"accepted", "dialled", "closed", "refused", "accept_failures", "accept_pauses", "turns", "reads", "writes",
	"short_writes", "bytes_in", "bytes_out", "link_reads", "link_writes", "link_bytes_in", "link_bytes_out",
	"link_connects", "link_failures", "slow_readers", "over_budget", "stray_events", "open_now", "buffered_now",
}

// Board publishes the plain counters of one writer to readers on other threads. The writer counts without atomics and
// posts once a tick.
type Board struct{ cells []atomic.Uint64 }

// NewBoard returns a board of n counters.
func NewBoard(n int) *Board { return &Board{make([]atomic.Uint64, n)} }

// Post publishes v, which has as many counters as the board.
func (b *Board) Post(v []uint64) {
	for i, x := range v {
		b.cells[i].Store(x)
	}
}

// Get returns counter i as last posted.
func (b *Board) Get(i int) uint64 { return b.cells[i].Load() }
