package main

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"megaphone/config"
)

func TestPublicFlag(t *testing.T) {
	var list []config.PublicURL
	f := publicFlag{&list}
	for _, v := range []string{
		"a.example=https://chat.example/b, a.example=wss://chat.example/w, b.example=http://h:80/?x=y",
		"https://other.example/?a=b", "ws://other.example/?a=b"} {
		if err := f.Set(v); err != nil {
			t.Fatal(err)
		}
	}
	want := []config.PublicURL{
		{Domain: "a.example", BOSH: "https://chat.example/b", WebSocket: "wss://chat.example/w"},
		{Domain: "b.example", BOSH: "http://h:80/?x=y"},
		{BOSH: "https://other.example/?a=b", WebSocket: "ws://other.example/?a=b"}}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("read as %+v", list)
	}
	const text = "a.example=https://chat.example/b,a.example=wss://chat.example/w,b.example=http://h:80/?x=y," +
		"https://other.example/?a=b,ws://other.example/?a=b"
	if f.String() != text {
		t.Errorf("written as %s", f.String())
	}
	for _, v := range []string{"c.example=wss://h/w", "ws://twice.example"} {
		if f.Set(v) == nil {
			t.Errorf("%s is accepted", v)
		}
	}
}

// TestDemoURLs: for every listening address of the demo, its URLs are a valid configuration.
func TestDemoURLs(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:5280": "http://127.0.0.1:5280/http-bind",
		"[::1]:80": "http://[::1]:80/http-bind", "192.0.2.1:1": "http://192.0.2.1:1/http-bind"} {
		got := demoURLs("http://", netip.MustParseAddrPort(listen), "/http-bind", "/ws")
		socket := strings.Replace(strings.Replace(want, "http:", "ws:", 1), "/http-bind", "/ws", 1)
		if !reflect.DeepEqual(got, []config.PublicURL{{BOSH: want, WebSocket: socket}}) {
			t.Errorf("%s: %+v", listen, got)
		}
	}
	for _, listen := range []string{"0.0.0.0:5280", "[::]:5280"} {
		list := demoURLs("http://", netip.MustParseAddrPort(listen), "/http-bind", "/ws")
		cfg := config.Config{PublicURLs: list, Origins: []config.Origin{{Name: "a", Address: "h:1"}}}
		if _, err := cfg.Values(); err != nil {
			t.Error(err)
		}
		if last := list[len(list)-1]; list[0].Domain != "localhost" || last.Domain != "" || len(list) < 3 {
			t.Errorf("%s: %+v", listen, list)
		}
	}
	if list := demoURLs("http://", netip.AddrPort{}, "/http-bind", "/ws"); list != nil {
		t.Errorf("a unix socket: %+v", list)
	}
}
