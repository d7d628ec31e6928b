// Package loop is the event loop under the edge and the load generator: reactors on epoll, built from gnet's netpoll.
// It knows connections, links, deadlines and descriptors, and nothing of what the bytes mean.
//
//	            +---------------------- reactor ----------------------+
//	clients ----| listeners -> accept4 -> slots (package table)       |
//	servers <---| Dial -------------------> |                         |
//	            |      v                    v                         |    links
//	            |   poller (epoll) --> read --> Handler.Data          |---- one batch a turn
//	            |      ^                         | Write, Batch       |     and link, one write
//	            |   timer, wake                  v                    |
//	            |                            endTurn: redeliver, close, flush
//	            +-----------------------------------------------------+
//
// A Group has several reactors. Each is one goroutine with everything of its own: poller, listeners (SO_REUSEPORT),
// connection slots, timing wheel, links. On the data path nothing is shared: no lock, no channel, no atomic.
//
// # A turn
//
// A turn is the events that are ready at once, 256 at most, and what they leave to finish. Two descriptors on the
// poller are the reactor's own:
//   - the timer, a timerfd: the one tick source, ten a second. (Every adds a faster one, for who paces work by it.)
//   - wake, an eventfd through which other threads post tasks (stop, inject ticks in tests).
//
// At the end of the turn resumed connections get the input that was kept for them, connections that were closed in
// the turn are reported and their descriptors closed (not before: no event of the turn can meet a reused number),
// and every dirty link is flushed with one write.
//
// # Connections that are dialled
//
// Dial makes a connection as accepting does: the same slots, deadlines, buffers and reports, and it counts against
// MaxConnections. It takes its source address and port from the caller, who alone knows which are free.
// A Link is something else: a few per reactor, kept up by the loop and written in batches.
//
// # Handing listeners over
//
// Group.Listeners copies all listening sockets, and another group, in this process or the next, serves the copies
// (Listener.Files). Each socket has an accept queue of its own, and who waits in it is lost with the last descriptor:
// so all of them are adopted, several by one reactor if need be. The reactors of a larger group open more, which
// begin to listen with the first Accept only: before that the kernel gives them nobody, and a successor that comes to
// nothing takes nobody with it. A unix socket has one queue for all reactors.
//
// # Costs
//
// A connection costs a slot of 64 bytes and 4 bytes in the index from descriptor to slot; both are allocated at the
// start and hold no pointers. Only a connection with unfinished input or output has a buffer, from a pool. The
// buffers of one reactor have a budget (MaxBufferedBytes), and the output of one connection a bound
// (MaxOutputBytes). A connection over its bound is closed and counted. Over the budget the largest buffer of the client
// that has most is given up, and the first 4 KiB of each buffer have a part of it for themselves (shed.go). A round
// trip allocates nothing.
//
// # Private descriptor tables
//
// RLIMIT_NOFILE bounds one descriptor table. Linux gives a thread a table of its own with unshare(CLONE_FILES), so
// a process of n reactors holds n times the limit, also where the limit cannot be raised. In mode auto that happens
// only when the limit is too low for MaxConnections. The room has rules, each with a guard and a test:
//   - Go's own poller is opened before the first unshare (initRuntimePoller); its descriptors stay open under the same
//     numbers in every table, because the runtime may wake it from any thread.
//   - Nothing on a reactor's goroutine uses os, net or log: a number means another file there. Records go over a
//     bounded queue to a goroutine on an ordinary thread (Log, package logqueue). The one exception is the reactor's
//     own epoll descriptor, an os.File that is opened, waited for and closed by the reactor alone: Go's poller
//     watches files, not numbers, and the kernel adds the file that the number means on the thread that adds it.
//   - What was open before unshare would live on in the copy: unshareTable closes all of it but what is named.
//   - A link finds a descriptor whatever clients do: the highest numbers of a table are not for them (acceptBelow).
//   - Listening sockets are opened or inherited before unshare, in the table that all threads share, and stay open
//     there too: from a reactor's own table nothing could be handed to another process but by the reactor itself. A
//     reactor keeps those that it serves.
//   - The wake eventfd is made before unshare, so that its number is good on both sides.
//   - SO_REUSEPORT spreads connections by a hash: a table has five sigma of headroom (share).
//
// A reactor is locked to its thread only with a private table; without one, locking costs some 4 % of the
// throughput and buys nothing.
package loop
