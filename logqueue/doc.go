// Package logqueue writes log records on a goroutine of its own, so that no other goroutine waits for a log.
//
// Standard error may be a pipe whose reader has stopped. A goroutine that writes there by itself then stops for as
// long: with it go the signals, the watchdog, or all sessions of an origin. So all that is logged is put into a
// Queue, which has room for Length records. One more is dropped and counted. As soon as a record can be written
// again, one before it says how many are missing:
//
//	level=WARN msg="log records dropped" count=17
//
// A record that could not be written, for lack of space on the disk, is counted as well.
//
// A Queue has one goroutine, which may block in a write for good. Flush and the end of a Queue wait for it for Patience
// at most. Putting a record costs its copy, and no lock that is held during a write.
package logqueue
