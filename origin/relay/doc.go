// Package relay carries the streams of a link to the WebSocket endpoint of an XMPP server that exists already, over a
// connection of its own for each (RFC 7395). It is the part of the gateway that speaks WebSocket.
//
//	link ---- Opened ----> dial                 GET, Upgrade      XMPP server
//	     <--- Accept, End                      <---- 101, or not
//	     ---- Message ---> queue --> writer     ---- message --->
//	     <--- Send ------------------- reader  <---- message ----
//
// A stream is accepted when the server has accepted its WebSocket. Each has a goroutine for either direction, and the
// buffers of github.com/coder/websocket, some 20 KiB in all. So a relay is for thousands of users, not for a million.
//
// # Back-pressure
//
// A message of the client is acknowledged when it has been written to the server. So at most a window of the link and
// one message wait in the queue. While the stream is full, nothing is read from the server.
//
// # Ends
//
// The close code of either side reaches the other. A connection that is lost without a close frame is lost on the other
// side too, so that a client with stream management (XEP-0198) can resume its session.
package relay
