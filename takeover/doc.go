// Package takeover hands the listening sockets of a running process to its successor, over a unix socket of packets
// (SOCK_SEQPACKET), so that no connection is refused in between.
//
//	successor                                       predecessor
//	   | --------------- connect, ask --------------> |  each checks the other's user (SO_PEERCRED)
//	   | <-- sockets of listener 1, 2, ... (SCM_RIGHTS)|
//	   | <--- offer: how many links are up, keys ----- |
//	   |  (starts, and links up to the origins)        |  (accepts)
//	   |  (accepts)                                    |
//	   | --------------- serving --------------------> |  which listeners it keeps
//	   |                                               |  (releases the paths that only one can have)
//	   | <-------------- leaving --------------------- |
//	   | ---------------- alone ---------------------> |
//	   |  (binds the paths)                            |  (drains)
//
// At each moment at least one of them accepts, whichever crashes, is stopped or fails, at any time. The predecessor
// drains only after the successor has confirmed that it knows. This requires the following rules:
//
//   - The predecessor accepts until "alone". If the successor's end of the socket closes before that, the predecessor
//     binds its paths again and continues.
//   - A successor that accepts waits for the predecessor's packet without a time limit, because a silent predecessor
//     may be stopped and serve no client.
//   - The predecessor sends "error" if it continues. If its end closes without that, it has exited, or drains on
//     request, and the successor serves alone. A predecessor whose path is dead has exited, whatever it has sent.
//   - A successor that has accepted clients and is then refused drains them.
//   - A path that cannot be bound is no reason to exit.
//
// PredecessorState and SuccessorState implement these rules as pure functions. The edge has no others, and TestModel
// explores everything that two processes that follow them can do. After "alone" the hand-over is complete: a successor
// that crashes then is simply an edge that crashes.
//
// Packets are JSON, so that a later version can add to them. Version 0.1 has no "alone". As a predecessor it drains
// once it has sent "leaving", so a successor that crashes before reading that leaves no edge. As a successor it is
// known to be alone when it has bound its path. It gives up after 5 s without a packet, or with its predecessor, and
// cuts its clients off.
package takeover
