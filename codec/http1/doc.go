// Package http1 is HTTP/1.1 as a server sees its bytes (RFC 9110, RFC 9112).
//
// ParseHead reads the head of a request. ScanChunks finds the end of a chunked body, and DecodeChunks joins its data.
// ResponseHead writes the head of the answer.
//
// # Contract
//
// ParseHead and ScanChunks borrow their input until they return. The results are slices of it. Only DecodeChunks
// writes into its argument. Input may arrive in pieces: ok is false without an error until it is complete. The caller
// then calls again with all bytes so far. ParseHead is told the length at the last call, and Chunks remembers the last
// whole chunk, so neither searches its input again from the start.
//
// An *Error is one of the values in Errors. It carries the status to answer with, so every answer can be built in
// advance. Malformed input never panics; a malformed response head does, because the programmer wrote it. Limits, with
// the constants beside it, bounds every input.
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
// # Costs
//
// In nanoseconds on the 2-core build machine, where the kernel's share of one small request is 7,000: a head takes 200
// for the 150 bytes of a script and 500 for the 600 bytes of a browser, the head of a response 40. Only NewResponseHead
// allocates; it runs once per answer that is known in advance.
package http1
