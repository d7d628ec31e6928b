package ws

// Error is the fault of a peer that ends its stream. There is one value for each reason, so all close frames can be
// built in advance.
type Error struct {
	Code   Code   // of the close frame that answers it
	Reason string // one sentence for the author of the peer, short enough for a close frame
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of a stream.
var (
	errReserved   = fault(CodeProtocolError, "A reserved bit is set: no extension is agreed on, so do not compress.")
	errOpcode     = fault(CodeProtocolError, "The opcode of a frame is reserved.")
	errFragment   = fault(CodeProtocolError, "A control frame is fragmented.")
	errControl    = fault(CodeProtocolError, "A control frame has more than 125 bytes.")
	errNoMessage  = fault(CodeProtocolError, "A continuation frame has no message to continue.")
	errUnfinished = fault(CodeProtocolError, "A message begins before the last fragment of the one before it.")
	errUnmasked   = fault(CodeProtocolError, "A client must mask all its frames.")
	errMasked     = fault(CodeProtocolError, "A server must not mask its frames.")
	errLength     = fault(CodeProtocolError, "The length of a frame does not have its shortest form.")
	errCloseSize  = fault(CodeProtocolError, "A close frame has a status code of one byte.")
	errCloseCode  = fault(CodeProtocolError, "A close frame has a status code that no frame may have.")
	errBinary     = fault(CodeUnsupportedData, "XMPP is text: the message is binary.")
	errText       = fault(CodeInvalidPayload, "The text of a message is not UTF-8.")
	errCloseText  = fault(CodeInvalidPayload, "The reason in a close frame is not UTF-8.")
	errTooLarge   = fault(CodeTooLarge, "The message is too large.")
)

// Errors lists all errors, so that the close frames for them can be built in advance.
var Errors []*Error

func fault(code Code, reason string) *Error {
	e := &Error{code, reason}
	Errors = append(Errors, e)
	return e
}
