package record

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestWithCryptoTLS: crypto/tls opens what an end seals, and the reverse, on either side, with and without KeyUpdates.
// Then both close.
func TestWithCryptoTLS(t *testing.T) {
	for _, id := range []uint16{0x1301, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9} {
		for _, client := range []bool{false, true} {
			t.Run(fmt.Sprintf("%#x/client=%v", id, client), func(t *testing.T) {
				p := connect(t, id, client)
				for i, n := range []int{1, 300, maxPlainBytes, maxPlainBytes + 1, 100_000} {
					text := strings.Repeat(fmt.Sprint(i), n)
					p.out.write(p.seal(t, text))
					p.expect(t, text)
					if p.suite().tls13 {
						p.out.write(p.update(t, i%2 == 0))
					}
					if _, err := p.conn.Write([]byte(text)); err != nil {
						t.Fatal(err)
					}
					if got := p.hear(t); got.plain != text || got.end != nil {
						t.Fatalf("%d: %v", i, got)
					}
				}
				checkEnds(t, p)
			})
		}
	}
}

// checkEnds: one side closes, and the other sees the end of the stream. Then the other way round.
func checkEnds(t *testing.T, p *partner) {
	t.Helper()
	if err := p.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := p.hear(t); got.plain != "" || got.end != io.EOF {
		t.Errorf("after close_notify of crypto/tls: %v", got)
	}
	p.out.write(p.Close(&p.live, nil))
	if n, err := p.conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after close_notify: %d, %v", n, err)
	}
}

// TestAlertsWithCryptoTLS: each side understands why the other ends.
func TestAlertsWithCryptoTLS(t *testing.T) {
	for _, id := range []uint16{0x1301, 0xc02f} {
		p := connect(t, id, false)
		p.out.write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
		if _, err := p.conn.Read(make([]byte, 1)); err == nil {
			t.Error("crypto/tls takes a forged record")
		}
		if got := p.hear(t); got.end != PeerAlert(alertBadRecordMAC) {
			t.Errorf("%#x: %v", id, got)
		}

		p = connect(t, id, false)
		if got := p.receive(t, []byte("\x17\x03\x03\x00\x00")); got.end != errMAC {
			t.Fatal(got)
		} else {
			p.out.write([]byte(got.answer))
		}
		_, err := p.conn.Read(make([]byte, 1))
		if err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("%#x: crypto/tls: %v", id, err)
		}
	}
}

// TestRenegotiationWithCryptoTLS: a client of crypto/tls that is asked for it begins to renegotiate. It gets a warning,
// and the connection continues.
func TestRenegotiationWithCryptoTLS(t *testing.T) {
	p := connect(t, 0xc02f, false)
	p.out.write(p.raw(typeHandshake, helloRequest))
	p.out.close() // else the client would wait for a ServerHello
	if _, err := p.conn.Read(make([]byte, 1)); err == nil {
		t.Error("a record without data")
	}
	got := p.hear(t)
	if got.end != nil || got.plain != "" || len(split(t, []byte(got.answer))) != 1 {
		t.Error(got)
	}
	p.seal(t, "still here")
}
