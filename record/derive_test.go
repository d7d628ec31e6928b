package record

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestVectors: keys and records of published handshakes.
func TestVectors(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/vectors.txtar")
	if err != nil || len(archive.Files) == 0 {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		t.Run(f.Name, func(t *testing.T) {
			values := map[string]string{}
			var s State
			var l Live
			for line := range strings.Lines(string(f.Data)) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				values[name] = value
				switch name {
				case "iv": // the last value before the records
					checkKeys(t, &s, values)
				case "record":
					var contentType byte
					var content, record string
					if _, err := fmt.Sscan(value, &contentType, &content, &record); err != nil {
						t.Fatal(err)
					}
					checkRecord(t, &s, &l, contentType, unhex(t, content), unhex(t, record))
				}
			}
		})
	}
}

// checkKeys starts s with the secret of a vector in both directions, and compares what it derives.
func checkKeys(t *testing.T, s *State, values map[string]string) {
	h := Handshake{ClientSecret: unhex(t, values["secret"]), ServerSecret: unhex(t, values["secret"])}
	if _, err := fmt.Sscanf(values["suite"], "%x", &h.Suite); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(&h); err != nil {
		t.Fatal(err)
	}
	var key [maxKeyBytes]byte
	var iv [ivBytes]byte
	same(t, "key", s.suite().keys(s.in(), &key, &iv), unhex(t, values["key"]))
	same(t, "iv", iv[:], unhex(t, values["iv"]))
}

// checkRecord seals content into record, and opens record into content.
func checkRecord(t *testing.T, s *State, l *Live, contentType byte, content, record []byte) {
	same(t, "record", s.sealRecord(l, nil, contentType, content, nil), record)
	gotType, got, err := s.openRecord(l, bytes.Clone(record))
	if err != nil || gotType != contentType {
		t.Fatalf("type %d, want %d: %v", gotType, contentType, err)
	}
	same(t, "content", got, content)
}

// TestExpandLabel compares with HKDF-Expand of the standard library.
func TestExpandLabel(t *testing.T) {
	for _, c := range []*suite{{tls13: true}, {tls13: true, sha384: true}} {
		newHash := sha256.New
		if c.sha384 {
			newHash = sha512.New384
		}
		for label, n := range map[string]int{"key": 16, "iv": ivBytes, "traffic upd": c.secretBytes()} {
			secret := counting(c.secretBytes(), 7)
			info := fmt.Sprintf("\x00%c%ctls13 %s\x00", n, 6+len(label), label)
			want, err := hkdf.Expand(newHash, secret, info, n)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, n)
			c.expandLabel(got, secret, label)
			same(t, label, got, want)
		}
	}
}

// TestPRF has the vectors for P_SHA256 and P_SHA384 of the IETF's TLS list (2009).
func TestPRF(t *testing.T) {
	for _, v := range []struct {
		c                  suite
		secret, seed, want string
	}{
		{suite{}, "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
			"e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7" +
				"077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"},
		{suite{sha384: true}, "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
			"7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e534cb40" +
				"0fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd4d90" +
				"fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f"},
	} {
		want := unhex(t, v.want)
		got := make([]byte, len(want))
		v.c.prf(got, unhex(t, v.secret), "test label", unhex(t, v.seed))
		same(t, "PRF", got, want)
	}
}

// TestKeysAllocateNothing: a connection that wakes up allocates its AEADs only.
func TestKeysAllocateNothing(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		server, _ := newEnds(t, c)
		var key [maxKeyBytes]byte
		var iv [ivBytes]byte
		if n := testing.AllocsPerRun(100, func() { c.keys(server.in(), &key, &iv) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
