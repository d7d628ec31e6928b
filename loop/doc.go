// Package loop is the event loop under the edge and the load generator: reactors on epoll. It manages connections,
// links, deadlines and descriptors. It never interprets the bytes.
//
//	            +---------------------- reactor ----------------------+
//	clients ----| listeners -> accept4 -> slots (package table)       |
//	servers <---| Dial -------------------> |                         |
//	            |      v                    v                         |    links
//	            |   poller (epoll) --> input --> Handler.Data         |---- one batch a turn
//	            |      ^                         | Write, Batch       |     and link, one write
//	            |   timer, wake                  v                    |
//	            |                            endTurn: redeliver, close, flush
//	            +-----------------------------------------------------+
//
// A Group has several reactors. Each is one goroutine that owns everything it uses: poller, listeners (SO_REUSEPORT),
// connection slots, timing wheel, links. The data path of a reactor shares nothing with others: no lock, no channel.
//
// # A turn
//
// A turn handles the events that are ready at once, 256 at most, and the work they leave behind. Two descriptors on the
// poller belong to the reactor itself:
//   - the timer, a timerfd: the only tick source, ten a second. (Every adds a faster one for paced work.)
//   - wake, an eventfd through which other threads post tasks (stop, inject ticks in tests).
//
// At the end of the turn the reactor delivers kept input to resumed connections and flushes every dirty link with one
// write. It also reports the connections that were closed in the turn, and closes their descriptors. It does so only
// then because no event of the turn may meet a reused number.
//
// The system calls of reactors are in package loop/sys. With the build tag sim a kernel in memory is there instead, and
// Group.Turn makes the turns.
//
// # Dialled connections
//
// Dial makes a connection just as accepting does: the same slots, deadlines, buffers and reports. It counts against
// MaxConnections. The caller chooses the source address and port, because only the caller knows which are free. A Link
// is different: each reactor has a few, which the loop keeps connected and writes in batches. Links have no slot, and a
// contract of their own, LinkHandler. A LinkTransport may encrypt them.
//
// # Secure connections
//
// A Transport can stand between the bytes of a connection and its plaintext. Its owner calls Secure, at once or after a
// header in plaintext. input passes all bytes to Transport.Open, which works in place and may answer. Write passes all
// plaintext to Transport.Seal. The part of a record that is not whole is kept behind the plaintext that the owner has
// not consumed, in one buffer. The end of the stream is seen after the input before it. CloseGracefully sends the
// Transport's last bytes behind the output that waits. The bound on output counts bytes, not plaintext.
//
// # Handing listeners over
//
// Group.Listeners copies all listening sockets. Another group, in this process or the next, serves the copies
// (Listener.Files). Each socket has its own accept queue, and closing its last descriptor resets the clients that wait
// in it. So the new group adopts all sockets, several per reactor if necessary.
//
// The reactors of a larger group open more sockets, which start to listen only with the first Accept. Until then the
// kernel gives them no clients, so a successor that fails takes none with it. A unix socket has one queue for all
// reactors.
//
// # Costs
//
// A connection costs a slot of 64 bytes and 4 bytes in the index from descriptor to slot. Both are allocated at startup
// and hold no pointers. Only a connection with unfinished input or output has a buffer, from a pool.
//
// The buffers of one reactor have a budget (MaxBufferedBytes), and the output of one connection a bound
// (MaxOutputBytes), unless its owner has another (WriteUnbounded). A connection over its bound is closed and counted.
// Over the budget, the reactor gives up the largest buffer of the heaviest client. Part of the budget is reserved for
// the first 4 KiB of each buffer (shed.go). A round trip allocates nothing.
//
// # Private descriptor tables
//
// RLIMIT_NOFILE bounds one descriptor table. Linux gives a thread its own table with unshare(CLONE_FILES). A process of
// n reactors therefore holds n times the limit, even where the limit cannot be raised. Mode auto does this only if the
// limit is too low for MaxConnections. Private tables impose rules, each with a guard and a test:
//   - Go's own poller is opened before the first unshare (fdtable.OpenRuntimePoller). Its descriptors stay open
//     under the same numbers in every table, because the runtime may wake it from any thread.
//   - Nothing on a reactor's goroutine uses os, net or log, because a number means another file there. Records pass
//     through a bounded queue to a goroutine on an ordinary thread (Log, package logqueue). The one exception is the
//     reactor's own epoll descriptor, an os.File that only the reactor opens, waits on and closes. It is safe because
//     Go's poller watches files, not numbers, and the kernel resolves the number on the thread that adds it.
//   - Descriptors that were open before unshare would live on in the copy: fdtable.Unshare closes all but those it is
//     told to keep.
//   - A link always finds a descriptor, whatever clients do: the highest numbers of a table are not for clients
//     (acceptBelow).
//   - Listening sockets are opened or inherited before unshare, in the table that all threads share, and stay open
//     there. From a private table only the reactor itself could hand them to another process. A reactor keeps the
//     sockets that it serves.
//   - The wake eventfd is made before unshare, so its number is valid on both sides.
//   - SO_REUSEPORT spreads connections by a hash: a table has five sigma of headroom (fdtable.Share).
//
// A reactor is locked to its thread only if it has a private table. Without one, locking costs some 4 % of the
// throughput and gains nothing.
package loop
