package main

import (
	"net/netip"
	"reflect"
	"testing"

	"megaphone/config"
)

func TestPublicFlag(t *testing.T) {
	var list []config.PublicURL
	f := publicFlag{&list}
	for _, v := range []string{"a.example=https://chat.example/b, b.example=http://h:80/?x=y",
		"https://other.example/?a=b"} {
		if err := f.Set(v); err != nil {
			t.Fatal(err)
		}
	}
	want := []config.PublicURL{{Domain: "a.example", BOSH: "https://chat.example/b"},
		{Domain: "b.example", BOSH: "http://h:80/?x=y"}, {BOSH: "https://other.example/?a=b"}}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("read as %+v", list)
	}
	const text = "a.example=https://chat.example/b,b.example=http://h:80/?x=y,https://other.example/?a=b"
	if f.String() != text {
		t.Errorf("written as %s", f.String())
	}
}

// TestDemoURLs: for every listening address of the demo, its URLs are a valid configuration.
func TestDemoURLs(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:5280": "http://127.0.0.1:5280/http-bind",
		"[::1]:80": "http://[::1]:80/http-bind", "192.0.2.1:1": "http://192.0.2.1:1/http-bind"} {
		got := demoURLs(netip.MustParseAddrPort(listen), "/http-bind")
		if !reflect.DeepEqual(got, []config.PublicURL{{BOSH: want}}) {
			t.Errorf("%s: %+v", listen, got)
		}
	}
	for _, listen := range []string{"0.0.0.0:5280", "[::]:5280"} {
		list := demoURLs(netip.MustParseAddrPort(listen), "/http-bind")
		cfg := config.Config{PublicURLs: list, Origins: []config.Origin{{Name: "a", Address: "h:1"}}}
		if _, err := cfg.Values(); err != nil {
			t.Error(err)
		}
		if last := list[len(list)-1]; list[0].Domain != "localhost" || last.Domain != "" || len(list) < 3 {
			t.Errorf("%s: %+v", listen, list)
		}
	}
	if list := demoURLs(netip.AddrPort{}, "/http-bind"); list != nil {
		t.Errorf("a unix socket: %+v", list)
	}
}
