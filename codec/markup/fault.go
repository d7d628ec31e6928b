package markup

// Fault is a reason why input is malformed.
type Fault uint8

// The faults.
const (
	OK          Fault = iota // none
	Incomplete               // the input ends within a token, or before the end of the content
	Syntax                   // a tag or text that breaks the grammar
	Character                // a character that XML does not permit, or malformed UTF-8
	Reference                // a reference to no character, or to an entity that is not predefined
	Repeated                 // an attribute twice in a tag
	TooMany                  // more than MaxAttributes attributes
	Declaration              // a malformed XML declaration, or one with an encoding other than UTF-8
	Outside                  // text before the root element
	Comment                  // forbidden in XMPP, as are the next two
	Instruction
	DocumentType
)
