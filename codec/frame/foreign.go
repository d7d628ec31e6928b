package frame

import (
	"bytes"
	"strconv"
)

// foreigners maps the first bytes of protocols found at the wrong port to their names.
var foreigners = []struct{ first, name string }{
	{"HTTP/", "HTTP"}, {"GET ", "HTTP"}, {"POST ", "HTTP"}, {"HEAD ", "HTTP"}, {"OPTIONS ", "HTTP"}, {"PUT ", "HTTP"},
	{"CONNECT ", "HTTP"}, {"<!DOCTYPE", "HTTP"}, {"<html", "HTTP"},
	{"PRI * HTTP/2", "HTTP/2"},
	{"<?xml", "XMPP stream"}, {"<stream:", "XMPP stream"}, {"</stream:", "XMPP stream"},
	{"\x15\x03", "TLS alert"}, {"\x16\x03", "TLS handshake"},
	{"PROXY ", "PROXY header"}, {"\r\n\r\n\x00\r\nQUIT\n", "PROXY header"},
	{"SSH-", "SSH"}, {"220", "SMTP or FTP"}, {"+OK", "POP3 or Redis"}, {"-ERR", "POP3 or Redis"}, {"* OK", "IMAP"},
}

// Foreign returns the name of the protocol that a connection with the first bytes p speaks, if it is not the link
// protocol. p may be cut anywhere.
func Foreign(p []byte) string {
	for _, f := range foreigners {
		if n := min(len(p), len(f.first)); n >= min(len(f.first), 4) && bytes.EqualFold(p[:n], []byte(f.first[:n])) {
			return f.name
		}
	}
	if len(p) == 0 {
		return "nothing"
	}
	return "unknown"
}

// MaxQuotedBytes is the maximum number of bytes that Quoted quotes.
const MaxQuotedBytes = 48

// Quoted returns the first bytes of p in ASCII, as a Go string literal.
func Quoted(p []byte) string { return strconv.QuoteToASCII(string(p[:min(len(p), MaxQuotedBytes)])) }
