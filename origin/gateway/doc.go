// Package gateway is an origin without sessions of its own. It forwards each request of its links over HTTP to an
// existing BOSH endpoint, such as Prosody's, Openfire's or ejabberd's mod_bosh.
//
//	                 engine (link.Server)                 a goroutine, none in wait
//	edge --link--> Request --> endpoint? socket? --> call: connect --> send --> wait --> receive
//	                 Idle  <-- completions, Wake <----------------------------------------'  |
//	edge <--link--  Reply                                                 pool <-- socket ---'
//	                 Gone  --> leave: when the request is sent, the deadline of its socket is put into the past
//
// The engine's goroutine decides and never blocks. It chooses the endpoint, acquires a socket or the permission to
// connect one, and copies the request into one piece, ready to send. A goroutine connects and sends. The call then
// waits without one, and another receives the reply and adds the call to the list of completions. The first completion
// requests a turn from the engine. Idle delivers all completions, so that replies that become ready together leave in
// one write.
//
// # HTTP
//
// A socket carries one request at a time, never a pipelined one, because ejabberd's HTTP server answers those with 400.
// The gateway sends a request in one write, with a Content-Length and never chunked. The reply may have any form of
// HTTP/1.1 and 1.0; fasthttp reads it. The gateway keeps the status, and the body if it is a BOSH <body>. It does not
// deliver other pages:
//
//   - With 502 to 504 a proxy reports that its server is unreachable. These become 503.
//   - 408, 425 and, in a session, 429 become 503 as well, because clients take a 4xx for the end of the session.
//   - Other errors keep their status and lose the page.
//   - A page with 200, or a redirection, becomes 502 and is logged, because the URL is probably wrong.
//
// An endpoint may close idle sockets at any time. The gateway checks a socket before it uses it. If the endpoint closes
// a socket while a request is in flight, the gateway sends the request again, once, on a fresh socket. This is safe
// because a repeated request of a session gets the first one's answer (XEP-0124 section 14.3). A 408 on a socket that
// had been idle is treated the same way. Servers send it when they stop waiting for a request, and it may cross one. A
// session creation has no such number, so it always uses a fresh socket and is sent once.
//
// # Order
//
// A client has two or more sockets, so its requests may arrive over several links. Each request takes its own socket to
// the endpoint, whose server may read the sockets in any order: ejabberd has a process for each. Its BOSH engine keeps
// a request that arrives before its predecessor, but forgets it if the predecessor has nothing to answer. The session
// then stalls. Replies also arrive over two sockets and leave over two links.
//
//	Request --> session? --> queue --> turn? --> call ...     in rid order: sent, then read, then the next one
//	        ... completion --> open --> turn? --> Reply       in rid order, payloads behind a fence of the other link
//
// A request therefore waits until its predecessor has been sent, and until there is evidence that the endpoint has read
// it. That is the predecessor's answer, or the empty answer to an older request held until then. Without evidence the
// predecessor gets a head start: four times the endpoint's recent time to read a request, within 25 and 100 ms. A
// request without its predecessor waits at most 5 s for it; then it is the endpoint's to judge. A request beyond the
// session's window, or the first one seen of its session, waits only 10 ms. The predecessor is known from the session's
// creation on. A request behind one that could not be sent, or failed, gets 503 as well, and the client sends both
// again. A repeated request follows the first one as if it were its successor.
//
// A reply waits for the replies to older requests, but at most 5 s (replyPatienceMillis), because the server may have
// nothing to answer to those. It does not wait for a request that the client has abandoned or repeated. Errors wait for
// nothing. A reply with payload that follows another one on another link waits at most 5 s until that one has left the
// edge (link.Replier.Fence).
//
// A client may lose the connection of a held request, or a gateway that is killed the socket, and a newer request may
// come before the repeated one. Prosody takes the newer one and answers item-not-found to the older one, although the
// session continues. The gateway knows that the newer one came first, and sends an empty reply instead.
//
// If a client repeats a request while the first one is held, the endpoint answers the first one and holds the newer
// one. ejabberd and Prosody answer the first one with an empty body.
//
// # Endpoints
//
// Several URLs are several servers that know nothing of each other's sessions. The gateway appends the endpoint's tag
// to the session ID in the reply to a creation, as edges do for origins (boshbody.Suffix). Each later request goes to
// the endpoint that its tag names, without the tag. No table is needed, and a gateway may restart without losing
// sessions.
// The gateway removes the session ID from later replies. Prosody repeats it in each, and clients must not learn it
// there without its tags. The tag is a hash of the URL as written, so another spelling is another endpoint. With one
// URL there are no tags.
//
// A failed request makes the endpoint doubtful, and a probe settles the doubt at once: a GET on its own socket. If the
// probe fails too, the endpoint is down. Meanwhile its requests are not sent. They get what an edge answers for a lost
// origin: 503 while the endpoint is expected back (Config.Grace), then remote-connection-failed, which ends the
// session. New sessions go to another endpoint if there is one. A probe runs every second until one is answered. An
// accepted connection is no answer, and neither is 502, 503 or 504.
//
//	what happens                                what the client gets    the socket
//	no connection, or none in time              503                     none
//	it ends before the whole reply              503                     closed
//	no reply within ResponseTimeout             504                     closed
//	a reply longer than MaxReplyBytes           502                     closed
//	a reply's head longer than MaxHeadBytes     502                     closed
//	endpoint down, expected back                503                     none
//	endpoint down for longer                    remote-connection-failed
//	a session ID with the tag of no endpoint    item-not-found
//	all sockets in use, too many bytes          503                     none
//	a 408 on a socket that had been idle        the answer to a repeat  closed
//	item-not-found to a request that was sent
//	  after its successor                       an empty body           used again
//
// Apart from the last row, the gateway never invents a 200 for a session that the endpoint still has.
//
// # Gone, release, and the end of a link
//
// Gone, and the end of a link, close the request's socket. To the endpoint it looks as if the client had closed its
// own. (ejabberd checks a socket again only when its request is answered, as with any client, so its end lives until
// then.) A request that is not completely sent yet is sent first. A closing page posts its last words and leaves at
// once, and the link reads both together. The endpoint, if it were the client's own server, would have received the
// words.
//
// A draining edge wants its requests released. The gateway cannot ask the endpoint for that, and an empty 200 of its
// own would lose the endpoint's next answer to this request. The client therefore gets 503 and sends the same request
// again over another edge. The endpoint then answers the first one because it has been repeated. Until then the first
// one keeps its socket, and its reply is dropped. The repeated request gets the same payloads, if there were any.
//
// # Bounds
//
//   - Sockets: MaxSockets, including idle and connecting ones. The default is RLIMIT_NOFILE less ReservedDescriptors.
//     If all are in use, an idle one makes room, or else the request gets 503 at once.
//   - Bytes of requests and replies: MaxBufferedBytes. Further requests get 503. The gateway reads a reply's head into
//     8 KiB, and its body when there is room for it. Replies have half of the bytes, and those of one link an eighth of
//     that half, until they have reached their link. A reply that is alone, at most 4 MiB by default, always has room.
//     Replies to a full link (link.Replier.Full) wait for it, so the endpoints' sockets fill up and nothing is lost.
//   - One reply: MaxReplyBytes. Its head: MaxHeadBytes.
//   - Sessions kept in order: twice MaxSockets, but at least 1,024, of 135 bytes each. Beyond that the gateway forgets
//     the session that has been idle for longest. It also forgets sessions that end and those without a request for
//     five minutes. The next request of a forgotten session counts as its first.
//   - Requests of a session that wait or are in progress: 16. Further ones are sent without order.
//   - Time: ConnectTimeout, ResponseTimeout.
//   - Probes: one at a time for each endpoint.
//
// # Cost
//
// A held request costs a socket and 1.1 KB of user space, which TestMemoryOfHeldRequests measures: 0.3 KB for the
// request, the rest for net's socket. The kernel adds 4 KB per end. A waiting request has no buffer and no goroutine:
// one goroutine watches all of them with gnet's poller (waiting.go). Its poller sleeps in the kernel, which on a host
// with one processor may delay the others by up to 10 ms.
package gateway
