// Package codec turns bytes into what they mean, and back: HTTP/1.1 requests, the start tag of BOSH's <body>, the
// frames of a link, and response heads. It has no I/O, no clock and no locks, and knows nothing of connections.
//
// # The way of a request
//
//	client                                                                                        origin
//	  |  POST /http-bind HTTP/1.1 CR LF                                                              ^
//	  |  Host: chat.example.org CR LF         ParseHead    -> Head: path, host, length ...           |
//	  |  Content-Length: 71 CR LF CR LF                                                              |
//	  |                                       ScanChunks   -> where a chunked body ends              |
//	  |                                       DecodeChunks -> the body in one piece, in place        |
//	  |  <body rid='1' sid='s.k3x9' .../>     ParseBody    -> Body: rid, sid, to ...                 |
//	  |                                                                                              |
//	  +--------------------------------------- AppendRequest: 00000060|00000003000012f4|192.0.2.1 <body .../>
//
//	  +--------------------------------------- ParseFrame, ParseReply: 00000052|00000003000012f4|<body .../>
//	  |                                                                                              |
//	  v  HTTP/1.1 200 OK CR LF ...             ResponseHead.Append                                 origin
//
// Frames with the ID 0 carry control lines instead: NextLine, ParseHello, ParseWelcome, NextID, LinkProof.
//
// # The rules of the room
//
//   - ParseX borrows its input until it returns; what it gives back are slices of that input, and valid as long as it.
//     Only DecodeChunks writes into its argument. AppendX extends dst as append does.
//   - Three outcomes: parsed; not complete (ok is false, and no error: more bytes are needed); malformed (an error). A
//     peer's nonsense never panics. Only errors of the program do, such as a frame larger than the protocol allows.
//   - Errors are package-level values, of concrete types, so that no interface is made. An Error carries the HTTP
//     status to answer with; Errors lists them all, so that every answer can be built beforehand.
//   - Every input may arrive in any pieces. What the pieces are makes no difference to the result, and no input is
//     searched again from its start with each piece: ParseHead is told how far the last call got, Chunks remembers
//     the last whole chunk, ParseFrame says how many bytes it needs.
//   - Every input has a bound: Limits, and the constants beside it.
//   - Nothing allocates, but for the name in a hello, LinkProof, LinkMAC, and NewResponseHead, none of which
//     is done per request.
//
// # Strictness
//
// Whatever two readers could understand differently is refused, because the second reader may be a balancer in
// front of the edge: line ends other than CR LF, folded lines, space before a colon, a length that is repeated, that is
// not digits only, or that stands beside a transfer coding, a transfer coding other than chunked, a Host that is
// missing, repeated or malformed, control characters anywhere. Whatever real clients do, and all readers understand
// alike, is taken: empty lines before a request, no space after a colon, any case in names, HTTP/1.0 without Host.
//
// Of XML only the start tag of the root element is read, and only so far that routing by it is safe: its name and
// namespace, attributes that are quoted and unique, no comment, instruction or document type before it. Whether the
// rest is well-formed is found by the session manager behind the link, which must parse it in any case.
//
// # Costs
//
// In nanoseconds on the 2-core build machine, where the kernel's share of one small request is 7,000:
//
//	head        200 for the 150 bytes of a script, 500 for the 600 bytes of a browser
//	<body> tag  400 for a session request, 190 for a message
//	frame        30 to read, 50 to write, whatever the contents but for copying them
//	response     40 for the head
package codec
