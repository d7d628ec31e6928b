// Package websocket tests codec/ws with another implementation, github.com/coder/websocket, at the other end of a pipe
// in memory. It is a package of its own because codec/ws must not import net, not even in tests.
package websocket
