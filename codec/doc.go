// Package codec has no code: its directory holds one package for each format that the proxy reads and writes.
//
//	codec/http1     requests and response heads of HTTP/1.1
//	codec/markup    XML as XMPP permits it: tags, content, references
//	codec/boshbody  the start tag of BOSH's <body>, and the suffix of its session ID
//	codec/frame     the protocol of a link: frames, control lines, the handshake
//	codec/proxy     the client's address, as the proxies before the edge state it
//	codec/ws        WebSocket: the handshake, frames, messages of XMPP
//
// None imports another, but boshbody reads its tag with markup, and ws its request with http1. They share
// codec/internal/ascii, which only they may import. None has I/O, a clock or locks, and none knows connections.
//
// # The path of a request
//
//	client                                                                                       origin
//	  |  PROXY TCP4 192.0.2.1 ... CR LF        proxy.Parse        -> the client's address            ^
//	  |  POST /http-bind HTTP/1.1 CR LF                                                              |
//	  |  Host: chat.example.org CR LF          http1.ParseHead    -> path, host, length ...          |
//	  |  Content-Length: 71 CR LF CR LF                                                              |
//	  |                                        http1.ScanChunks   -> where a chunked body ends       |
//	  |                                        http1.DecodeChunks -> the body in one piece, in place |
//	  |  <body rid='1' sid='s.k3x9' .../>      boshbody.Parse     -> rid, sid, to ...                |
//	  |                                                                                              |
//	  +--------------------- frame.AppendRequest: 00000060|00000003000012f4|192.0.2.1 <body .../> ---+
//
//	  +---------- frame.Parse, frame.ParseReply: 00000052|00000003000012f4|<body .../> --------------+
//	  |                                                                                              |
//	  v  HTTP/1.1 200 OK CR LF ...             http1.ResponseHead.Append                           origin
//
// # Rules of all packages
//
//   - ParseX borrows its input until it returns. Its results are slices of the input, and valid while it is. Only
//     http1.DecodeChunks and ws.Stream.Next write into their argument. AppendX extends dst as append does.
//   - There are three outcomes: parsed; incomplete (ok is false without an error: more bytes are needed); malformed (an
//     error). Malformed input never panics. Only programmer errors do, such as a frame larger than the protocol allows.
//   - Errors are package-level values of concrete types, so parsing allocates no interface.
//   - Every input may arrive in pieces. The result does not depend on the pieces, and no input is searched again from
//     its start with each piece.
//   - Every input has a bound.
//   - Nothing that runs per request allocates.
package codec
