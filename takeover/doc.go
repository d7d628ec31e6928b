// Package takeover hands the listening sockets of a running process to the process that is to follow it, over a unix
// socket of packets (SOCK_SEQPACKET), so that no connection is refused in between.
//
//	successor                                       predecessor
//	   | --------------- connect, ask --------------> |  both look at the other's user (SO_PEERCRED)
//	   | <-- sockets of listener 1, 2, ... (SCM_RIGHTS)|
//	   | <--- offer: how well it is linked ----------- |
//	   |  (starts, and links up to the origins)        |  (accepts)
//	   |  (accepts)                                    |
//	   | --------------- serving --------------------> |  which listeners it keeps
//	   |                                               |  (gives up the paths that only one can have)
//	   | <-------------- leaving --------------------- |
//	   | ---------------- alone ---------------------> |
//	   |  (binds the paths)                            |  (drains)
//
// At each moment at least one of both accepts, whichever of them crashes, is stopped or fails, and whenever; the
// predecessor drains only after the successor has said that it knows. The rules that this takes:
//
//   - The predecessor accepts until "alone". If the successor's end of the socket closes before, it binds its paths
//     again and goes on.
//   - A successor that accepts waits for the predecessor's word without a limit in time, because a predecessor that is
//     silent may be stopped and serve no client.
//   - The predecessor says "error" if it goes on. If its end closes without that, it has exited, or drains because it
//     was told to, and the successor serves alone. A predecessor whose path is dead has exited, whatever it has said.
//   - A successor that has accepted clients and is refused after all drains them.
//   - A path that cannot be bound is no reason to end.
//
// PredecessorState and SuccessorState are these rules as pure functions. The edge has no others, and TestModel walks
// through all that two processes that follow them can do. After "alone" the hand-over is over: a successor that crashes
// then is an edge that crashes.
//
// Packets are JSON, so that a later version can add to them. Version 0.1 has no "alone". As a predecessor it drains
// when it has said "leaving", so a successor that crashes before it has read that leaves no edge. As a successor it is
// known to be alone when it has bound its path; it gives up after 5 s without a word, or with its predecessor, and cuts
// its clients off.
package takeover
