package frame

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// asArgs returns line without its verb and LF.
func asArgs(t testing.TB, line []byte, verb string) []byte {
	t.Helper()
	got, args, rest, ok, err := NextLine(line)
	if !ok || err != nil || string(got) != verb || len(rest) > 0 {
		t.Fatalf("%q is no line of %s: %v", line, verb, err)
	}
	return args
}

func TestHelloVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Hellos {
		t.Run(v.Name, func(t *testing.T) {
			h, err := ParseHello(g.Put(v.Args))
			if v.Error {
				if err != errHello || h != (Hello{}) {
					t.Fatalf("%q: %+v, %v", v.Args, h, err)
				}
				return
			}
			want := Hello{Version: v.Hello.Version, Name: v.Hello.Name, Max: v.Hello.Max}
			want.TakesQuery, want.Instance, want.Age = v.Hello.TakesQuery, v.Hello.Instance, v.Hello.Age
			want.Nonce = [16]byte(v.Hello.Nonce)
			if len(v.Hello.MAC) > 0 {
				want.MAC, want.HasMAC = [32]byte(v.Hello.MAC), true
			}
			if len(v.Hello.Proof) > 0 {
				want.Proof, want.HasProof = [32]byte(v.Hello.Proof), true
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
	h.Proof, h.HasProof, h.TakesQuery = [32]byte{0xCD}, true, true
	want := "hello version=1 name=edge-1 nonce=" + strings.Repeat("0", 30) + "1f mac=ab" + strings.Repeat("0", 62) +
		" max=262144 take=query proof=cd" + strings.Repeat("0", 62) + "\n"
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
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Welcomes {
		t.Run(v.Name, func(t *testing.T) {
			var args []byte // nil, as NextLine returns it if there are none
			if v.Args != "" {
				args = g.Put(v.Args)
			}
			w, err := ParseWelcome(args)
			if v.Error {
				if err != errHello || w != (Welcome{}) {
					t.Fatalf("%q: %+v, %v", v.Args, w, err)
				}
				return
			}
			var want Welcome
			if len(v.MAC) > 0 {
				want.MAC, want.HasMAC = [32]byte(v.MAC), true
			}
			if len(v.Proof) > 0 {
				want.Proof, want.HasProof = [32]byte(v.Proof), true
			}
			if err != nil || w != want {
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
		// Every input affects the result.
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

func TestProofVectors(t *testing.T) {
	for _, v := range linkVectors(t).Proofs {
		t.Run(v.Name, func(t *testing.T) {
			lines := make([][]byte, len(v.Lines))
			for i, line := range v.Lines {
				lines[i] = []byte(line + "\n"[:i%2]) // a trailing LF makes no difference
			}
			want := [32]byte(v.Proof)
			if got := LinkProof(v.Secret, v.Role, lines...); !MACEqual(&got, &want) {
				t.Fatalf("%x, not %x", got, want)
			}
			// Each byte of the input affects the result.
			for i, line := range v.Lines {
				for k := range line {
					changed := []byte(line)
					changed[k] ^= 1
					lines[i] = changed
					if LinkProof(v.Secret, v.Role, lines...) == want {
						t.Fatalf("byte %d of line %d does not matter", k, i)
					}
				}
				lines[i] = []byte(line)
			}
			if LinkProof(v.Secret[1:], v.Role, lines...) == want || LinkProof(v.Secret, "x", lines...) == want {
				t.Error("secret or role does not matter")
			}
			if LinkProof(v.Secret, v.Role, bytes.Join(lines, []byte(" "))) == want {
				t.Error("the ends of the lines do not matter")
			}
		})
	}
}

func TestUnproved(t *testing.T) {
	h := Hello{Version: 1, Name: "edge-1", HasMAC: true, Max: 5}
	bare := AppendHello(nil, &h)
	h.Proof, h.HasProof = [32]byte{1}, true
	for _, line := range [][]byte{bare, AppendHello(nil, &h), bytes.TrimSuffix(AppendHello(nil, &h), []byte("\n"))} {
		if got := Unproved(line); string(got)+"\n" != string(bare) {
			t.Errorf("%q: %q, not %q", line, got, bare)
		}
	}
	for _, line := range []string{"", "\n", " proof=", "welcome proof=" + strings.Repeat("0", 63),
		"welcome proof=" + strings.Repeat("0", 65), "welcome\tproof=" + strings.Repeat("0", 64)} {
		if got := Unproved([]byte(line)); string(got) != strings.TrimSuffix(line, "\n") {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// TestHandshakeFits: the longest hello that AppendHello writes fits into the frames before the welcome.
func TestHandshakeFits(t *testing.T) {
	h := Hello{Version: maxNumber, Name: strings.Repeat("x", maxNameBytes), HasMAC: true, HasProof: true,
		Max: MaxContentsBytes, TakesQuery: true, Instance: strings.Repeat("x", maxNameBytes), Age: MaxAge,
		Streams: true, Window: maxNumber}
	if n := len(AppendHello(nil, &h)); n > MaxHandshakeBytes/2 {
		t.Errorf("%d bytes leave no room for later versions in %d", n, MaxHandshakeBytes)
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
	h := Hello{Version: 1, Name: "edge-1", HasMAC: true, Max: 5, HasProof: true}
	w := Welcome{HasMAC: true, HasProof: true}
	buf := make([]byte, 0, 512)
	hello, welcome := asArgs(t, AppendHello(nil, &h), "hello"), asArgs(t, AppendWelcome(nil, &w), "welcome")
	codectest.NoAllocs(t, "append", func() {
		AppendHello(buf, &h)
		AppendWelcome(buf, &w)
	})
	codectest.NoAllocs(t, "unproved", func() { Unproved(hello) })
	codectest.NoAllocs(t, "welcome", func() { ParseWelcome(welcome) })
	codectest.NoAllocs(t, "compare", func() { MACEqual(&h.MAC, &w.MAC) })
	var names [2]Hello
	if n := testing.AllocsPerRun(100, func() { names[0], _ = ParseHello(hello) }); n != 1 {
		t.Errorf("hello: %v allocations, not the one for its name", n)
	}
}

// fuzzHello: an accepted hello, written again, parses to the same.
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
