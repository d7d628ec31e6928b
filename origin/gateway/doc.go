// Package gateway is an origin that has no sessions of its own: it forwards each request of its links over HTTP to a
// BOSH endpoint that is there already, such as Prosody's, Openfire's or ejabberd's mod_bosh.
//
//	                 engine (link.Server)                 one goroutine a call
//	edge --link--> Request --> endpoint? socket? --> call: connect --> send --> wait --> receive
//	                 Idle  <-- completions, Wake <----------------------------------------'  |
//	edge <--link--  Reply                                                 pool <-- socket ---'
//	                 Gone  --> leave: when the request is sent, the deadline of its socket is put into the past
//
// The engine's goroutine decides, and never waits: it chooses the endpoint, takes a socket or the permission to
// connect one, and copies the request into one piece, ready to be sent. The call's goroutine does the rest and puts
// the call on the list of completions; the first one there asks the engine for a turn. Idle delivers all that are
// there, so that what has become ready together leaves in one write.
//
// # HTTP
//
// One request at a time on a socket, never a second one behind it: ejabberd's HTTP server answers those with 400. A
// request is sent in one write, with a Content-Length, and never chunked. The reply may have any form that HTTP/1.1
// and 1.0 know; fasthttp reads it. Its status is kept, and its body if it is a BOSH <body>. Pages are not delivered:
// with 502 to 504 they are a proxy's word that there is no server behind it, and become 503; so do 408, 425 and, in a
// session, 429, because clients take a 4xx for the end of the session; other errors keep their status and lose the
// page; a page with 200, or a redirection, becomes 502, and is logged, as the URL is wrong most likely.
//
// An endpoint closes idle sockets at its pleasure. A socket that has been closed is found out before it is used. When
// it is closed just as a request is on its way, the request is sent again, once, on a fresh socket: a request of a
// session that comes again is answered like the first (XEP-0124 section 14.3). So is one that gets 408 on a socket that
// had been idle: servers say that when they tire of waiting, and it may cross the request. A session creation has no
// such number, so it goes over a fresh socket always, and is sent once.
//
// # Order
//
// A client has two sockets or more, so its requests may come over several links. Each takes a socket of its own to the
// endpoint, whose server may read those in any order: ejabberd has a process for each. Its BOSH engine keeps a request
// that comes before its predecessor, and then forgets it if the predecessor has nothing to answer: the session stalls.
// Replies, too, come over two sockets, and leave over two links.
//
//	Request --> session? --> queue --> turn? --> call ...     in rid order: sent, then read, then the next one
//	        ... completion --> open --> turn? --> Reply       in rid order, payloads behind a fence of the other link
//
// So a request waits until its predecessor has been sent, and then until there is a sign that the endpoint has read it:
// its answer, or the empty answer to an older request that was held until then. Without a sign the predecessor has a
// head start, of 25 ms at least and four times of what the endpoint has lately taken to read a request. A request whose
// predecessor is missing waits for it, for 5 s at most; then the endpoint may judge. One that is beyond the
// session's window, or the first one that is seen of its session, waits for 10 ms only. The predecessor is known from
// the session's creation on. A request behind one that could not be sent, or failed, gets 503 as well: the client sends
// both again. One that was sent again follows the first one as if it were its successor.
//
// A reply waits for those to older requests, for a second at most, because a server may have nothing to say to those.
// It does not wait for a request whose client is gone, or has sent it again. Errors wait for nothing. A reply with
// payload that follows another one on another link waits until that one has left the edge (link.Link.Fence), for 5 s at
// most.
//
// A request that is sent again while the first one is held: the endpoint's word goes to the first one, the newer one is
// held. ejabberd and Prosody say an empty body to the first.
//
// # Endpoints
//
// Several URLs are several servers that know nothing of each other's sessions. The session ID in the reply to a
// creation gets the endpoint's tag appended, the same way as edges mark nodes (codec.Suffix), and each later request
// goes where its tag says, without it; so no table is needed, and a gateway may be restarted under its sessions. Later
// replies have no session ID: Prosody repeats it in each, and clients must not learn it without its tags there. The
// tag is a hash of the URL as it is written: another spelling of it is another endpoint. With one URL there are no
// tags.
//
// A request that fails raises a doubt, which a probe settles at once: a GET on a socket of its own. When that fails
// too, the endpoint is down. While it is, requests are not sent, but get what the edge says of a lost node: 503 as
// long as it is expected back (Config.Grace), after which sessions end with remote-connection-failed. New sessions go
// elsewhere if there is elsewhere. Probes go on every second until one is answered. A connection that is accepted is
// no answer, and neither is 502, 503 or 504.
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
//	a 408 on a socket that had been idle        what another one says   closed
//
// There is no 200 in the name of a session that the endpoint still has.
//
// # Gone, release, and the end of a link
//
// Gone, and the end of a link, close the socket: to the endpoint that looks as if the client had done so itself. (As it
// does with clients, ejabberd looks at a socket again when its request is answered only, so its end lives until then.)
// A request that is not wholly sent yet is sent first. A page that is closed posts its last words and leaves at once,
// and both come with one read of the link; the endpoint, if it were the client's own server, would have received them.
//
// An edge that drains wants its requests released. The endpoint cannot be asked to, and an empty 200 of our own would
// lose what the endpoint says next in reply to this request. So the client gets 503, and comes again with the same
// request, over another edge. The endpoint then answers the first one itself, because it has come twice; until then
// it keeps its socket, and its reply is dropped: if it had payloads, the request that came again is given the same
// ones.
//
// # Bounds
//
// Sockets: MaxSockets, idle ones and those being connected included; by default what RLIMIT_NOFILE leaves of
// ReservedDescriptors. When all are in use a request gets 503 at once; idle ones make room. Bytes of requests and
// replies under way: MaxBufferedBytes. Requests beyond get 503. Of replies the head is read, into 8 KiB, and then the
// body if there is room for it: replies have a half, and those of one link an eighth of that, from there until they are
// with their link. One that is alone, of 4 MiB at most by default, always has room. Those for a link that is full
// (link.Link.Full) wait for it, so its endpoints' sockets fill up, and nothing is lost. Each reply: MaxReplyBytes.
// Heads of replies: MaxHeadBytes. Sessions whose order is kept: twice
// MaxSockets, 1,024 at least, 135 bytes each; beyond that the one that has been idle for longest is forgotten, as are
// those that end and those without a request for five minutes; its next request is then taken as its first. Requests of
// a session that wait or are under way: 16; more go as they come. Time: ConnectTimeout, ResponseTimeout. Probes: one
// for each endpoint at a time.
//
// # Cost
//
// A held request costs a socket, 1.4 KB of heap (0.3 KB of it the request itself, the rest net's socket and the
// goroutine's descriptor) and 2 KiB of stack: 3.5 KB, which TestMemoryOfHeldRequests measures. The kernel adds 4 KB
// an end. There is no buffer while a request waits, and the goroutine that waits is not the one that connected and
// sent, whose stack had grown to twice the size. Thousands that begin at the same moment leave stacks behind, up to
// 6 KB each, until the collector finds them.
package gateway
