// Package sim runs edges in a world of its own, in which one seed is one history. The code of edge, loop, table and
// codec is that of production. Below it is the kernel in memory of package loop/sys (build tag sim), and around it
// are models:
//
//	clients, streamers ==\                       /== origins: sessions, streams
//	                       >== edges, N reactors <
//	pests ===============/    (real code)         \== origins
//	             all on one kernel, one clock, one generator
//
// Run lives through one history, in four parts:
//
//   - faults: the swarm of the seed says which clients, origins and edges there are, with which limits, and what goes
//     wrong how often. System calls fail and are short, packets are late, connections are cut, origins restart and
//     stall, edges are killed, drained, taken over and reloaded, and the clock jumps.
//   - calm: nothing goes wrong, and each client must get all that is due to it within minutes of simulated time.
//   - part: all clients leave. The edges must have nothing of them left, and the origins no request.
//   - end: the edges stop. They must have no descriptor left.
//
// # The models
//
// A client speaks BOSH with two connections or one that pipelines, repeats requests, hangs up, is slow, or vanishes. A
// streamer speaks WebSocket. A pest sends nonsense, parts of requests, or whole ones that it does not wait for. An
// origin speaks PROTOCOL.md. It has sessions with held requests and kept replies, answers late, drains, breaks the
// protocol, and answers IDs that are no longer live.
//
// # Invariants
//
// These hold at each step:
//
//   - Each message arrives once and in order within its session or stream.
//   - The responses of a connection are whole, in the order of its requests, and those of its own client.
//   - A session ends only if its origin does not have it, or was away.
//   - A request is answered in its time, and no connection ends before, unless something else is the cause.
//   - An edge keeps to the link protocol: IDs, windows, credits, pongs.
//   - Holds, counts of holds at origins, buffered bytes and unsent bytes are within bounds and fit together.
//   - A drain ends in its time, and no connection that waits in an accept queue is lost in a drain or takeover.
//
// A failure is one line with its seed, and the last steps. For a single seed the test then takes out faults, actors and
// limits, one after the other, while some failure stays (shrink).
//
// # Planted bugs
//
// TestPlantedBugsAreFound builds the edge again and again with one line changed (go build -overlay), and expects a seed
// to fail. The production code knows nothing of it.
//
// # Left out
//
// TLS, the limits of client addresses, PROXY headers, unix sockets, private descriptor tables, the exchange between
// processes in package takeover, the real origins, and discovery by name.
package sim
