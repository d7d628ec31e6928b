package codec

import (
	"bytes"
	"strconv"
)

// foreigners are the first bytes of what is found at the wrong port, and its name.
var foreigners = []struct{ first, name string }{
	{"HTTP/", "HTTP"}, {"GET ", "HTTP"}, {"POST ", "HTTP"}, {"HEAD ", "HTTP"}, {"OPTIONS ", "HTTP"}, {"PUT ", "HTTP"},
	{"CONNECT ", "HTTP"}, {"<!DOCTYPE", "HTTP"}, {"<html", "HTTP"},
	{"PRI * HTTP/2", "HTTP/2"},
	{"<?xml", "XMPP stream"}, {"<stream:", "XMPP stream"}, {"</stream:", "XMPP stream"},
	{"\x15\x03", "TLS alert"}, {"\x16\x03", "TLS handshake"},
	{"PROXY ", "PROXY header"}, {"\r\n\r\n\x00\r\nQUIT\n", "PROXY header"},
	{"SSH-", "SSH"}, {"220", "SMTP or FTP"}, {"+OK", "POP3 or Redis"}, {"-ERR", "POP3 or Redis"}, {"* OK", "IMAP"},
}

// Foreign names the protocol that p, the first bytes of a connection, is from if it is not the link protocol. p may be
// cut anywhere.
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

// MaxQuotedBytes bounds what Quoted shows.
const MaxQuotedBytes = 48

// Quoted is the first bytes of p in ASCII, as a Go string literal.
func Quoted(p []byte) string { return strconv.QuoteToASCII(string(p[:min(len(p), MaxQuotedBytes)])) }
