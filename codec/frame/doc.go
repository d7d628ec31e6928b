// Package frame is the link protocol as bytes.
//
//	frame    = length "|" id "|" contents    8 decimal digits, 16 hexadecimal digits
//	contents = request / reply               id: the connection that asks
//	         = open / accept / message / end id: a stream
//	         = 1*( verb [SP args] LF )       id 0: control lines, about the link itself
//
// Parse, ParseRequest and ParseReply read frames, ParseOpen and ParseEnd those of streams. NextLine, NextID and
// NextCredit read control lines. ParseHello, ParseWelcome and LinkProof are the handshake. Foreign names what a peer
// speaks instead. PROTOCOL.md has the whole grammar, and testdata/frames.json the test vectors for every
// implementation.
//
// # Contract
//
// ParseX and NextX borrow their input until they return. The results are slices of it, except that ParseHello copies
// the name. AppendX extends dst as append does, and panics if the other end would refuse the result. A frame may arrive
// in pieces: ok is false without an error until it is complete, and Parse returns the number of bytes that it needs.
// Malformed input is a package-level *Error, found at the first wrong byte; the link closes after it. It never panics.
// Contents have at most MaxContentsBytes, before the welcome MaxHandshakeBytes.
//
// # Costs
//
// In nanoseconds on the 2-core build machine: 30 to read a frame, 50 to write one, plus the time to copy the contents.
// The handshake allocates, once per link: the name in a hello, LinkProof and LinkMAC. So do escapes in an opening.
package frame
