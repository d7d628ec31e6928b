package ws

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"megaphone/codec/internal/codectest"
)

// TestMaskAgainstPlainLoop: at every alignment and length, in one piece and in two.
func TestMaskAgainstPlainLoop(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	page := codectest.NewPage(t)
	for n := range 80 {
		key := rnd.Uint32()
		var k [4]byte
		binary.LittleEndian.PutUint32(k[:], key)
		in, want, ascii := make([]byte, n), make([]byte, n), true
		for i := range in {
			in[i] = byte(rnd.Uint32())
			if want[i] = in[i] ^ k[i%4]; n%2 == 0 {
				want[i] &= 0x7F
				in[i] = want[i] ^ k[i%4]
			}
			ascii = ascii && want[i] < 0x80
		}
		// The end of the page fixes the alignment; more bytes behind shift it.
		for behind := range 9 {
			p := page.Writable(string(in) + "behind it"[:behind])
			if got := mask(p[:n], key); got != ascii || !bytes.Equal(p[:n], want) ||
				string(p[n:]) != "behind it"[:behind] {
				t.Fatalf("%d bytes, %d behind: % x, %v; want % x, %v", n, behind, p, got, want, ascii)
			}
		}
		for cut := range n + 1 {
			p := page.Writable(string(in))
			first := mask(p[:cut], key)
			if got := mask(p[cut:], rotate(key, uint32(cut))) && first; got != ascii || !bytes.Equal(p, want) {
				t.Fatalf("%d bytes, cut at %d: % x, want % x", n, cut, p, want)
			}
		}
	}
}

// TestMaskSeesEveryByte: one byte that is not ASCII counts, wherever it is.
func TestMaskSeesEveryByte(t *testing.T) {
	for n := range 80 {
		for at := range n {
			p := make([]byte, n)
			p[at] = 0x80
			if mask(p, 0) {
				t.Fatalf("byte %d of %d is overlooked", at, n)
			}
		}
	}
}

func BenchmarkMask(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"60 bytes", 60}, {"64 KiB", 64 << 10}, {"64 KiB, not aligned", 64<<10 + 3}} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, c.n)[c.n&3:]
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				mask(p, 0x11223344)
			}
		})
	}
}
