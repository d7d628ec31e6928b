package boshbody

import (
	"megaphone/codec/internal/ascii"
	"megaphone/codec/markup"
)

// Namespace is the namespace of BOSH's wrapper element (XEP-0124 section 4).
const Namespace = "http://jabber.org/protocol/httpbind"

// MaxRID is the largest request ID: 2^53-1 (XEP-0124 section 14.1).
const MaxRID = 1<<53 - 1

// StartTag is the parsed start tag of a BOSH <body>. The slices are attribute values as written, with entity references
// and white space. They borrow from the parsed bytes; nil means absent.
type StartTag struct {
	SID, To, Type, Content, Ver, Wait, Hold []byte
	Requests, Condition                     []byte // of an origin's reply

	RID              uint64
	HasRID           bool
	Empty            bool // <body .../>
	Start            int  // offset of the '<' of the tag
	TagEnd           int  // offset after its '>'
	SIDStart, SIDEnd int  // offsets of the sid's value; 0, 0 if absent

	AcceptStart, AcceptEnd int // offsets of the attribute accept, with the white space before it; 0, 0 if absent
}

// Error is a fault for which BOSH prescribes bad-request (XEP-0124 section 17.2).
type Error struct {
	Reason string // one sentence for the author of the client
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of a <body> up to the end of its start tag.
var (
	errNoElement   = &Error{"The body is empty, or ends before the end of its first tag."}
	errDeclaration = &Error{"The XML declaration is malformed, or names an encoding other than UTF-8."}
	errComment     = &Error{"Comments are not allowed."}
	errInstruction = &Error{"Processing instructions are not allowed."}
	errDTD         = &Error{"Document type declarations are not allowed."}
	errText        = &Error{"There is text before the first element."}
	errRoot        = &Error{"The first element is not a <body>."}
	errNamespace   = &Error{"The <body> is not in the namespace " + Namespace + "."}
	errSyntax      = &Error{"The start tag of the <body> is malformed."}
	errCharacter   = &Error{"The start tag of the <body> has a character that XML does not permit, or malformed UTF-8."}
	errReference   = &Error{"The start tag of the <body> has a reference that is not predefined in XML."}
	errRepeated    = &Error{"The <body> has an attribute twice."}
	errAttributes  = &Error{"The <body> has too many attributes."}
	ErrNoRID       = &Error{"The <body> has no rid."}
	ErrRID         = &Error{"The rid is not a number from 0 to 9007199254740991."}
)

// faults are the errors for the tokenizer's faults.
var faults = [...]*Error{
	markup.Incomplete:   errNoElement,
	markup.Syntax:       errSyntax,
	markup.Character:    errCharacter,
	markup.Reference:    errReference,
	markup.Repeated:     errRepeated,
	markup.TooMany:      errAttributes,
	markup.Declaration:  errDeclaration,
	markup.Outside:      errText,
	markup.Comment:      errComment,
	markup.Instruction:  errInstruction,
	markup.DocumentType: errDTD,
}

// Parse scans a request's body up to the end of the <body> start tag. It borrows p until return; b's slices borrow from
// p. It checks everything that routing depends on: the syntax of the tag, the root element and its namespace
// (Namespaces in XML section 6), the rid. The final parser checks the rest.
//
// On error, b holds the attributes before the error. If the error is ErrNoRID, ErrRID or errNamespace, b holds all of
// them. That suffices to answer an old client in its own way (XEP-0124 section 17.1).
func Parse(b *StartTag, p []byte) *Error {
	rid, err := parseTag(b, p)
	switch {
	case err != nil:
		return err
	case rid == nil:
		return ErrNoRID
	case !b.HasRID:
		return ErrRID
	}
	return nil
}

// ParseReply is Parse for an origin's reply, which has no rid.
func ParseReply(b *StartTag, p []byte) *Error {
	_, err := parseTag(b, p)
	return err
}

// parseTag parses everything up to the end of the start tag; rid is that attribute as written.
func parseTag(b *StartTag, p []byte) (rid []byte, err *Error) {
	*b = StartTag{}
	var f markup.Fault
	if b.Start, f = markup.Prolog(p); f != markup.OK {
		return nil, faults[f]
	}
	var t markup.Tag
	if f = t.Open(p, b.Start); f != markup.OK {
		return nil, faults[f]
	}
	root := markup.Split(t.Name)
	if string(root.Local) != "body" {
		return nil, errRoot
	}
	var namespace []byte
	for {
		name, value, ok := t.Next()
		if !ok {
			break
		}
		switch string(name) {
		case "sid":
			b.SID, b.SIDStart, b.SIDEnd = value, t.ValueFrom, t.ValueFrom+len(value)
		case "accept":
			b.AcceptStart, b.AcceptEnd = t.From, t.To
		case "rid":
			rid = value
			b.RID, b.HasRID = parseRID(value)
		case "to":
			b.To = value
		case "type":
			b.Type = value
		case "content":
			b.Content = value
		case "ver":
			b.Ver = value
		case "wait":
			b.Wait = value
		case "hold":
			b.Hold = value
		case "requests":
			b.Requests = value
		case "condition":
			b.Condition = value
		case "xmlns":
			if root.Prefix == nil {
				namespace = value
			}
		default:
			if root.Prefix != nil && declares(name, root.Prefix) {
				namespace = value
			}
		}
	}
	if t.Fault != markup.OK {
		return nil, faults[t.Fault]
	}
	b.TagEnd, b.Empty = t.End, t.Empty
	// An XML parser also resolves entity references in a namespace, but clients do not write it that way.
	if string(namespace) != Namespace {
		return nil, errNamespace
	}
	return rid, nil
}

// declares reports whether name is xmlns:prefix.
func declares(name, prefix []byte) bool {
	const xmlns = "xmlns:"
	return len(name) == len(xmlns)+len(prefix) &&
		string(name[:len(xmlns)]) == xmlns && string(name[len(xmlns):]) == string(prefix)
}

func parseRID(p []byte) (rid uint64, ok bool) {
	for _, c := range p {
		if !ascii.Is(c, ascii.Digit) {
			return 0, false
		}
		if rid = 10*rid + uint64(c-'0'); rid > MaxRID {
			return 0, false
		}
	}
	return rid, len(p) > 0
}
