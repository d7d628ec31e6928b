// Package edge is the proxy between BOSH clients and origins. It parses HTTP, parks each request of a session in a flat
// table, and forwards it over a link to an origin, whose reply answers the hold.
//
//	             .--------------------- edge: a reactor (package loop) and its worker ---------------------.
//	  request    |      http1.ParseHead       boshbody.Parse    .-> create --.                             |     frame
//	-------------| Data -> exchange -> serve -> post ----------+              +-> park -> handOver -> flush|-------->
//	             |                                             '-> forward --'                             |
//	  client     |                                                                                         |    origin
//	             |                                                                           frame.Parse   |
//	<------------| Write <- respond <- answerHold <- reply <- frame <----------------------------- LinkData|<--------
//	  response   |                                                                                         |     frame
//	             '-----------------------------------------------------------------------------------------'
//
// A worker handles the events of its reactor (package loop). Workers share the settings, and behind these the health
// and throttle of each origin and the table of client addresses (package limit). They never wait for each other.
//
// A conn is a client's connection. A request is one that the worker is handling. Both are passed along the road. serve
// shows every kind of request. Every response to one leaves through respond, the edge's own and those of origins.
//
// # Holds
//
// A hold is a request that waits for its reply. Its handle, index and generation, is the connection ID on the link, so
// a reply finds it without a hash, and a late reply is recognized by its generation. The replies of one connection
// leave in the order of its requests (respond). A hold is in one of these states:
//   - An origin has it, from handOver to takeBack. It expires after hold-timeout with 504, a session creation after
//     create-timeout with 503.
//   - Its origin is away (holdAway). The request waits in a queue, or its link was lost (waiting.go).
//   - It is a session creation that waits for an origin with room (creation.go).
//   - Its response is stowed until its turn (holdReady).
//
// The edge never invents a 200 for a request of a live session, because a message would be lost. It speaks for an
// origin only if the origin cannot. The failure table in ARCHITECTURE.md has the cases, with a test each.
//
// # Streams
//
// A stream is a client that speaks WebSocket: a hold that is answered many times. stream.go has its life, upgrade.go
// its beginning. A message takes no memory, and an idle stream 24 bytes beside its slots.
//
// # Routing
//
// A session creation goes to one of two origins drawn by weight, the one with fewer holds for its weight (pick). Later
// requests go to the origin whose tag their session ID ends with (forward). The health of an origin decides whether it
// gets new sessions (health.go), and its throttle how many creations may be under way (throttle.go).
//
// # Configuration
//
// Package config parses and checks the configuration. settings is the immutable form that a reactor uses. A reload
// makes a new one and hands it to each reactor between two requests (Edge.Reload).
//
// # Costs
//
// A connection has a slot of 64 bytes, and 1.25 holds of 24 bytes each. Both are allocated at start. Parking and
// answering a request allocates nothing (TestParkAndReplyAllocateNothing). Waiting requests, buffered input and access
// records have bounds that are documented where they are set.
package edge
