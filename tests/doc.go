// Package tests runs the built binary from outside, as an operator would: processes on free loopback ports; flags,
// files and signals in; standard output, the log, exit codes and HTTP answers out.
//
//	test process
//	     │
//	     ├─ rig          the binary built once, edge, origin, demo as processes, an HTTP client that does as told
//	     ├─ scripted     the origin's end of links, under the test's control
//	     └─ crowd        the test binary again (TestMain, roleVariable), holding thousands of clients: one process
//	                     of a test may have no more sockets than RLIMIT_NOFILE
//
// Nothing sleeps to let something happen: a test waits for a line of the log, a counter (SIGUSR1 has an edge log them),
// an answer, or the end of a process, and every wait is bounded by rig.Patience. Memory is what the kernel says: VmRSS,
// and VmHWM for the most there ever was, against bounds whose sums stand beside the assertions.
package tests
