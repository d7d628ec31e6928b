// Package boshbody parses what routes a BOSH request: the attributes of its <body> (XEP-0124).
//
// Parse reads the start tag. ParseSuffix reads the suffix that routers append to the session ID in it. Terminal writes
// the <body> that ends a session.
//
// # Contract
//
// Parse and ParseSuffix borrow their input until they return. The results are slices of it, as written: entity
// references are not resolved. Parse needs the whole start tag, because an HTTP body is complete before it is parsed:
// input that ends within the tag is malformed (errNoElement). Every fault is a package-level *Error. No input panics.
// A tag has at most 64 attributes.
//
// Parse reads the tag with codec/markup, and so as strictly as XML demands. It leaves the rest of the body to the
// session manager behind the link, which must parse it in any case.
//
// # Costs
//
// In nanoseconds on the 2-core build machine: 400 for the tag of a session request, 190 for that of a message. Parse
// allocates nothing.
package boshbody
