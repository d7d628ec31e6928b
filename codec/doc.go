// Package codec parses and writes the formats of the proxy: HTTP/1.1 requests, the start tag of BOSH's <body>, the
// frames of a link, and response heads. It has no I/O, no clock and no locks, and knows nothing of connections.
//
// # The path of a request
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
// # Rules of the package
//
//   - ParseX borrows its input until it returns. Its results are slices of the input, and valid while it is. Only
//     DecodeChunks writes into its argument. AppendX extends dst as append does.
//   - There are three outcomes: parsed; incomplete (ok is false without an error: more bytes are needed); malformed (an
//     error). Malformed input never panics. Only programmer errors do, such as a frame larger than the protocol allows.
//   - Errors are package-level values of concrete types, so parsing allocates no interface. An Error carries the HTTP
//     status to answer with. Errors lists them all, so every answer can be built in advance.
//   - Every input may arrive in pieces. The result does not depend on the pieces, and no input is searched again from
//     its start with each piece. ParseHead is told the length at the last call, Chunks remembers the last whole chunk,
//     and ParseFrame returns the number of bytes it needs.
//   - Every input has a bound: Limits, and the constants beside it.
//   - Nothing allocates except the name in a hello, LinkProof, LinkMAC and NewResponseHead. None of them runs per
//     request.
//
// # Strictness
//
// The parsers refuse everything that two readers could understand differently, because the second reader may be a
// balancer in front of the edge:
//   - line ends other than CR LF, folded lines, space before a colon
//   - a length that is repeated, is not all digits, or accompanies a transfer coding
//   - a transfer coding other than chunked
//   - a Host that is missing, repeated or malformed
//   - control characters anywhere
//
// They accept everything that real clients do and all readers understand alike: empty lines before a request, no space
// after a colon, any case in names, HTTP/1.0 without Host.
//
// Of XML, they read only the start tag of the root element, and only enough to route by it safely. They check its name
// and namespace, that attributes are quoted and unique, and that no comment, instruction or document type precedes it.
// The session manager behind the link must parse the rest in any case, and checks whether it is well-formed.
//
// # Costs
//
// In nanoseconds on the 2-core build machine, where the kernel's share of one small request is 7,000:
//
//	head        200 for the 150 bytes of a script, 500 for the 600 bytes of a browser
//	<body> tag  400 for a session request, 190 for a message
//	frame        30 to read, 50 to write, plus the time to copy the contents
//	response     40 for the head
package codec
