// Package markup reads XML as XMPP permits it (RFC 6120 section 11), in place: start tags with their attributes,
// content, references. It is the only XML tokenizer of the project.
//
//	Prolog --> Tag -----------------------------> Scanner
//	           the root: Open, Next, Next, ...    its content: text, CDATA, tags, each a call of Next
//
// # Strictness
//
// What it accepts is well-formed XML 1.0 (fifth edition) with names of Namespaces in XML 1.0: characters, UTF-8, names,
// quotes, references and unique attributes are checked. Comments, processing instructions, document types and
// references to other than the five predefined entities are faults, because RFC 6120 section 11.1 forbids them. The
// caller must match end tags with start tags, bound their depth and resolve namespace prefixes.
//
// # Contract
//
// Everything borrows its input, and results are slices of it as written: references are not resolved. AppendValue and
// AppendText resolve them. Input that ends too early is Incomplete. No input panics, each byte is read a bounded number
// of times, and a tag has at most MaxAttributes attributes. Nothing allocates, except to extend the dst of an Append
// function.
package markup
