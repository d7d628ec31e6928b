// Package logqueue writes log records on its own goroutine, so that no other goroutine waits for a log.
//
// Standard error may be a pipe whose reader has stopped. A goroutine that writes there itself then blocks for as long,
// and with it signals, the watchdog, or all sessions of an origin. So all records go into a Queue, which has room for
// Length records. Further ones are dropped and counted. As soon as a record can be written again, one before it has the
// number of missing records:
//
//	level=WARN msg="log records dropped" count=17
//
// A record that could not be written, for example because the disk is full, is counted as well.
//
// A Queue has one goroutine, which may block in a write forever. Flush and Close wait for it for at most Patience.
// Queuing a record costs a copy of it, and no lock that is held during a write.
package logqueue
