package ws

import "encoding/binary"

// AppendHeader appends the header of a server's frame to dst; the caller appends exactly payloadBytes more. Each frame
// is a whole message or a control frame. It panics if the opcode is another one than Text, Close, Ping and Pong, or if
// the payload is too long for it.
func AppendHeader(dst []byte, o Opcode, payloadBytes int) []byte {
	return appendHeader(dst, o, payloadBytes, 0)
}

// AppendMasked appends a client's frame to dst, with a masked copy of the payload. RFC 6455 section 5.3: each frame
// needs a new, unpredictable key. It panics as AppendHeader does.
func AppendMasked(dst []byte, o Opcode, payload []byte, key uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(appendHeader(dst, o, len(payload), maskBit), key)
	from := len(dst)
	dst = append(dst, payload...)
	mask(dst[from:], key)
	return dst
}

// appendHeader appends all of a header but the key.
func appendHeader(dst []byte, o Opcode, n int, maskBit byte) []byte {
	if o != Text && !(o.control() && o.known() && n <= maxControlBytes) || n < 0 {
		panic("ws: a frame that this package does not send")
	}
	dst = append(dst, finBit|byte(o))
	switch {
	case n < length16:
		return append(dst, maskBit|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, maskBit|length16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, maskBit|length64), uint64(n))
}
