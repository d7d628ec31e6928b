package codec

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// asArgs is line without its verb and LF.
func asArgs(t testing.TB, line []byte, verb string) []byte {
	t.Helper()
	got, args, rest, ok, err := NextLine(line)
	if !ok || err != nil || string(got) != verb || len(rest) > 0 {
		t.Fatalf("%q is no line of %s: %v", line, verb, err)
	}
	return args
}

func TestHelloVectors(t *testing.T) {
	g := newPage(t)
	for _, v := range linkVectors(t).Hellos {
		t.Run(v.Name, func(t *testing.T) {
			h, err := ParseHello(g.put(v.Args))
			if v.Error {
				if err != FrameErrHello || h != (Hello{}) {
					t.Fatalf("%q: %+v, %v", v.Args, h, err)
				}
				return
			}
			want := Hello{Version: v.Hello.Version, Name: v.Hello.Name, Max: v.Hello.Max}
			want.TakesQuery = v.Hello.TakesQuery
			want.Nonce = [16]byte(v.Hello.Nonce)
			if len(v.Hello.MAC) > 0 {
				want.MAC, want.HasMAC = [32]byte(v.Hello.MAC), true
			}
			if err != nil || h != want {
				t.Fatalf("%q: %+v, %v", v.Args, h, err)
			}
			again, err := ParseHello(asArgs(t, AppendHello(nil, &h), "hello"))
			if err != nil || again != h {
				t.Errorf("%+v, written again: %+v, %v", h, again, err)
			}
		})
	}
}

func TestHelloOnTheWire(t *testing.T) {
	h := Hello{Version: 1, Name: "edge-1", Max: 262144, HasMAC: true, MAC: [32]byte{0xAB}, Nonce: [16]byte{15: 0x1F}}
	want := "hello version=1 name=edge-1 nonce=" + strings.Repeat("0", 30) + "1f mac=ab" + strings.Repeat("0", 62) +
		" max=262144\n"
	if got := AppendHello(nil, &h); string(got) != want {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestHelloThatWouldBeRefusedPanics(t *testing.T) {
	good := Hello{Version: 1, Name: "a"}
	for name, change := range map[string]func(h *Hello){
		"no name":       func(h *Hello) { h.Name = "" },
		"a bad name":    func(h *Hello) { h.Name = "a b" },
		"no version":    func(h *Hello) { h.Version = 0 },
		"a negative":    func(h *Hello) { h.Max = -1 },
		"max too large": func(h *Hello) { h.Max = MaxContentsBytes + 1 },
		"version":       func(h *Hello) { h.Version = maxNumber + 1 },
	} {
		func() {
			h := good
			change(&h)
			defer func() {
				if recover() == nil {
					t.Errorf("%s: written", name)
				}
			}()
			AppendHello(nil, &h)
		}()
	}
}

func TestWelcomeVectors(t *testing.T) {
	g := newPage(t)
	for _, v := range linkVectors(t).Welcomes {
		t.Run(v.Name, func(t *testing.T) {
			var args []byte // as NextLine gives them when there are none
			if v.Args != "" {
				args = g.put(v.Args)
			}
			w, err := ParseWelcome(args)
			if v.Error {
				if err != FrameErrHello || w != (Welcome{}) {
					t.Fatalf("%q: %+v, %v", v.Args, w, err)
				}
				return
			}
			if err != nil || w.HasMAC != (len(v.MAC) > 0) || w.HasMAC && w.MAC != [32]byte(v.MAC) {
				t.Fatalf("%q: %+v, %v", v.Args, w, err)
			}
			again, err := ParseWelcome(asArgs(t, AppendWelcome(nil, &w), "welcome"))
			if err != nil || again != w {
				t.Errorf("%+v, written again: %+v, %v", w, again, err)
			}
		})
	}
}

func TestMACVectors(t *testing.T) {
	for _, v := range linkVectors(t).MACs {
		a, b, want := [16]byte(v.A), [16]byte(v.B), [32]byte(v.MAC)
		got := LinkMAC(v.Secret, v.Role, &a, &b, v.Name)
		if !MACEqual(&got, &want) {
			t.Errorf("%s %s: %s, not %s", v.Role, v.Name, hex.EncodeToString(got[:]), hex.EncodeToString(want[:]))
		}
		for i := range want {
			other := want
			other[i] ^= 1
			if MACEqual(&got, &other) {
				t.Errorf("a MAC that differs in byte %d is taken for equal", i)
			}
		}
		// Whatever goes into it matters.
		for name, other := range map[string][32]byte{
			"secret": LinkMAC(append(bytes.Clone(v.Secret), 'x'), v.Role, &a, &b, v.Name),
			"role":   LinkMAC(v.Secret, v.Role+"x", &a, &b, v.Name),
			"nonces": LinkMAC(v.Secret, v.Role, &b, &a, v.Name),
			"name":   LinkMAC(v.Secret, v.Role, &a, &b, v.Name+"x"),
		} {
			if MACEqual(&got, &other) {
				t.Errorf("%s does not matter", name)
			}
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "edge-1.example_x": true, "0": true, strings.Repeat("x", 64): true,
		"": false, "a b": false, "a/b": false, "a\n": false, "\xC3\xA9": false, "a=b": false,
		strings.Repeat("x", 65): false,
	} {
		if ValidName(name) != want {
			t.Errorf("ValidName(%q) is not %v", name, want)
		}
	}
}

func TestHelloAllocatesOnlyItsName(t *testing.T) {
	h := Hello{Version: 1, Name: "edge-1", HasMAC: true, Max: 5}
	w := Welcome{HasMAC: true}
	buf := make([]byte, 0, 256)
	hello, welcome := asArgs(t, AppendHello(nil, &h), "hello"), asArgs(t, AppendWelcome(nil, &w), "welcome")
	noAllocs(t, "append", func() {
		AppendHello(buf, &h)
		AppendWelcome(buf, &w)
	})
	noAllocs(t, "welcome", func() { ParseWelcome(welcome) })
	noAllocs(t, "compare", func() { MACEqual(&h.MAC, &w.MAC) })
	var names [2]Hello
	if n := testing.AllocsPerRun(100, func() { names[0], _ = ParseHello(hello) }); n != 1 {
		t.Errorf("hello: %v allocations, not the one for its name", n)
	}
}

// fuzzHello: what is accepted, written again, parses to the same.
func fuzzHello(t *testing.T, in []byte) {
	if h, err := ParseHello(in); err == nil {
		again, err := ParseHello(asArgs(t, AppendHello(nil, &h), "hello"))
		if err != nil || again != h {
			t.Fatalf("%q: %+v, written again: %+v, %v", in, h, again, err)
		}
	}
	if w, err := ParseWelcome(in); err == nil && len(in) > 0 {
		again, err := ParseWelcome(asArgs(t, AppendWelcome(nil, &w), "welcome"))
		if err != nil || again != w {
			t.Fatalf("%q: %+v, written again: %+v, %v", in, w, again, err)
		}
	}
}
