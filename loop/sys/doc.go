// Package sys is the system calls, the clock and the randomness of reactors. Each function is one call of package unix,
// time or rand. The compiler inlines all that the data path uses.
//
// The build tag sim replaces all of them by a kernel in memory (Kernel), whose sockets, timers, faults and time come
// from one seed. Package tests/sim runs edges on it. In that build each reactor is stepped by its owner, and nothing of
// this package reaches the real kernel.
package sys

// EventsPerPoll bounds the events of one EpollPoll: enough for a full batch, few enough to keep waits short.
const EventsPerPoll = 256
