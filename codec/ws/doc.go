// Package ws is WebSocket (RFC 6455) as bytes, for XMPP (RFC 7395).
//
//	GET /ws HTTP/1.1 ... Upgrade: websocket        ParseRequest -> key           server
//	HTTP/1.1 101 ... Sec-WebSocket-Accept: ...     AppendAnswer                  server
//
//	FIN RSV opcode | MASK length | key | payload   Stream.Next -> Text, Ping, Pong, Close
//	                                               AppendHeader, AppendClose     server
//	                                               AppendMasked                  client
//
// It knows messages, not their contents. The caller checks that each Text is an XML element, answers Ping with Pong,
// and Close with Close.
//
// # Contract
//
// ParseRequest borrows the head and returns the key within it. Next writes into its argument, because a client masks
// all that it sends: it unmasks payloads where they are, and moves the fragments of a message together. A message in
// one frame is not moved. Input may arrive in pieces of any size, and events, errors and their order do not depend on
// them. All progress is in a Stream of 16 bytes, which fits a connection's slot; what it counts is at the start of the
// input that is kept. So an idle connection has no buffer, and one in the middle of a message has one.
//
// An *Error is one of the values in Errors, and has the status code of the close frame that answers it. A *Refusal is
// one of Refusals, and has the status of an HTTP response. Malformed input never panics; a frame that the protocol
// forbids to send does, because the programmer wrote it.
//
// # Strictness
//
// Next refuses, with the code in parentheses:
//   - reserved bits and opcodes, because there are no extensions (1002, section 5.2)
//   - a length that is not in its shortest form, or has its top bit set (1002, section 5.2)
//   - frames of a client without a mask, of a server with one (1002, section 5.1)
//   - control frames with fragments or more than 125 bytes (1002, section 5.5)
//   - a continuation of nothing, a message within another (1002, section 5.4)
//   - close frames whose code is one byte or reserved (1002, sections 5.5.1 and 7.4)
//   - binary messages (1003, RFC 7395 section 3.2)
//   - text and reasons that are not UTF-8: overlong forms, surrogates, beyond U+10FFFF (1007, section 8.1)
//   - messages beyond the caller's bound (1009, section 7.4.1)
//
// Everything is refused as soon as it can be known: a header at its first wrong byte, a large message at its header, a
// wrong character when it arrives, whether or not the frame and the message are whole.
//
// # Fragments
//
// A peer may send a message in any number of fragments, and control frames between them (section 5.4). Next joins them
// at the start of the input. Behind them is a hole, their headers and the control frames. It is consumed when it is a
// third of the input. So the work is a few copies for each byte that arrives, even if each fragment has one byte, and
// the input is never larger than one and a half times the part of the message that has arrived.
//
// # Text
//
// Unmasking takes 8 bytes at a time, and sees on the way whether all are ASCII. Only other pieces are checked: the
// standard library's validation for the characters that are whole, and a state machine of nine states for those that
// are cut.
//
// # Costs
//
// In nanoseconds on the 2-core build machine: a message takes 60 for 60 bytes, 100 for 300 bytes, 8,000 for 64 KiB of
// ASCII and 130,000 for 64 KiB of Greek. A handshake takes 1,000. Nothing allocates. A connection between two messages
// takes only the 16 bytes of its Stream.
package ws
