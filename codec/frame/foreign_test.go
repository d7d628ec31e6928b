package frame

import (
	"strings"
	"testing"
)

func TestForeignAtEveryCut(t *testing.T) {
	for _, c := range []struct{ text, name string }{
		{"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n", "HTTP"},
		{"GET /http-bind HTTP/1.1\r\n", "HTTP"},
		{"POST /http-bind HTTP/1.1\r\n", "HTTP"},
		{"<html><head><title>400</title>", "HTTP"},
		{"<!doctype html>", "HTTP"},
		{"<?xml version='1.0'?><stream:stream", "XMPP stream"},
		{"<stream:stream xmlns='jabber:client'", "XMPP stream"},
		{"\x15\x03\x01\x00\x02\x02\x0A", "TLS alert"},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xFC", "TLS handshake"},
		{"SSH-2.0-OpenSSH_9.2\r\n", "SSH"},
		{"220 mail.example.org ESMTP\r\n", "SMTP or FTP"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY header"},
		{"\r\n\r\n\x00\r\nQUIT\n\x21\x11", "PROXY header"},
	} {
		for n := 6; n <= len(c.text); n++ {
			if got := Foreign([]byte(c.text[:n])); got != c.name {
				t.Errorf("%q is %s, want %s", c.text[:n], got, c.name)
			}
		}
		for n := range 6 {
			Foreign([]byte(c.text[:n]))
		}
	}
	for text, name := range map[string]string{"": "nothing", "x": "unknown", "\x00\x01": "unknown", "hell": "unknown"} {
		if got := Foreign([]byte(text)); got != name {
			t.Errorf("%q is %s, want %s", text, got, name)
		}
	}
}

func TestQuotedIsBoundedASCII(t *testing.T) {
	got := Quoted([]byte(strings.Repeat("\xFF\n", MaxQuotedBytes)))
	if len(got) > 4*MaxQuotedBytes+2 || strings.Trim(got, `"\xnf`) != "" {
		t.Errorf("%s", got)
	}
}
