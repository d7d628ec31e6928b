package codec

// Contents of frames with an ID that is not 0:
//
//	request = [address SP] body
//	reply   = [status SP] body
//
// A body begins with '<' (a reply's may be empty), so the optional part needs no mark.

// What may be wrong with the contents of a request or a reply.
var (
	FrameErrAddress = &FrameError{"A request begins neither with '<' nor with an address and a space."}
	FrameErrStatus  = &FrameError{"A reply begins neither with '<' nor with a status from 200 to 599 and a space."}
)

// maxAddressBytes is the longest IPv6 address in text: six groups and an IPv4 address.
const maxAddressBytes = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// ParseRequest takes a request's contents apart; addr is nil when it has none. It borrows contents until return, and
// so do its results after it. That addr is an address, and not only made of the same characters, is for the caller to
// find.
func ParseRequest(contents []byte) (addr, body []byte, err *FrameError) {
	if len(contents) > 0 && contents[0] == '<' {
		return nil, contents, nil
	}
	n := skip(contents, 0, isAddress)
	if n < len("::") || n > maxAddressBytes || n == len(contents) || contents[n] != ' ' {
		return nil, nil, FrameErrAddress
	}
	return contents[:n], contents[n+1:], nil
}

// AppendRequest appends a request's frame to dst. With a nil addr the body must begin with '<'.
func AppendRequest(dst []byte, id uint64, addr []byte, body []byte) []byte {
	if addr == nil {
		return AppendFrame(dst, id, body)
	}
	dst = AppendFrameHeader(dst, id, len(addr)+1+len(body))
	return append(append(append(dst, addr...), ' '), body...)
}

// ParseReply takes a reply's contents apart. It borrows contents until return, and so does body after it.
func ParseReply(contents []byte) (status int, body []byte, err *FrameError) {
	if len(contents) == 0 || contents[0] == '<' {
		return 200, contents, nil
	}
	const digits = 3
	if len(contents) <= digits || contents[digits] != ' ' || !all(contents[:digits], isDigit) {
		return 0, nil, FrameErrStatus
	}
	status = 100*int(contents[0]-'0') + 10*int(contents[1]-'0') + int(contents[2]-'0')
	if !validStatus(status) {
		return 0, nil, FrameErrStatus
	}
	return status, contents[digits+1:], nil
}

// AppendReply appends a reply's frame to dst. The status 200 is left out where that leaves no doubt. A status outside
// 200-599 is an error of the program: others do not end an HTTP exchange.
func AppendReply(dst []byte, id uint64, status int, body []byte) []byte {
	if !validStatus(status) {
		panic("codec: a reply whose status is not from 200 to 599")
	}
	if status == 200 && (len(body) == 0 || body[0] == '<') {
		return AppendFrame(dst, id, body)
	}
	dst = AppendFrameHeader(dst, id, len("200 ")+len(body))
	dst = append(dst, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	return append(dst, body...)
}

func validStatus(status int) bool { return status >= 200 && status <= 599 }
