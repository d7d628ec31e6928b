// Package takeover hands the listening sockets of a running process to the process that is to follow it, over a unix
// socket of packets (SOCK_SEQPACKET), so that no connection is refused in between.
//
//	successor                                       predecessor
//	   | --------------- connect, ask --------------> |  both look at the other's user (SO_PEERCRED)
//	   | <-- sockets of listener 1, 2, ... (SCM_RIGHTS)|
//	   | <--- offer: how well it is linked ----------- |
//	   |  (starts, and links up to the origins)        |  (serves on)
//	   | --------------- serving --------------------> |  which listeners it keeps
//	   | <-------------- leaving --------------------- |  (gives up the paths and ports that only one can have)
//	   |  (serves alone)                               |  (drains)
//
// Until it has said "leaving" the predecessor has given up nothing: whatever becomes of the successor before that, it
// goes on. Every step has a bound in time. Packets are JSON, so that a later version can add to them.
package takeover
