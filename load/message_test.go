package load

import (
	"math/rand/v2"
	"testing"
)

func TestMessagesAreFoundAgain(t *testing.T) {
	want := message{run: 0xdeadbeef, kind: kindChat, author: 7, reader: 1<<32 - 1, seq: 12, stamp: 99}
	other := message{run: 1, kind: kindToAll, author: 1, reader: 2, seq: 3, stamp: 4}
	p := appendMessage([]byte("<body>"+messageMark+"</body><body>"), want, 200)
	if size := len(p) - len("<body>"+messageMark+"</body><body>"); size != 200 {
		t.Errorf("a text of %d bytes, want 200", size)
	}
	p = appendMessage(append(p, "</body>"...), other, minSize)
	got, rest, ok := nextMessage(p)
	if !ok || got != want {
		t.Fatalf("%+v, %v", got, ok)
	}
	if got, rest, ok = nextMessage(rest); !ok || got != other {
		t.Fatalf("%+v, %v", got, ok)
	}
	if _, _, ok = nextMessage(rest); ok {
		t.Error("a third one")
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	good := string(appendMessage(nil, message{kind: kindChat}, minSize))
	for i := range good {
		bad := good[:i] + "!" + good[i+1:]
		if _, _, ok := nextMessage([]byte(bad)); ok {
			t.Errorf("%q", bad)
		}
		if _, _, ok := nextMessage([]byte(good[:i])); ok {
			t.Errorf("%q", good[:i])
		}
	}
}

// naive is an inbox that remembers everything.
type naive map[uint32]bool

func (n naive) take(seq uint32) arrival {
	top := uint32(0)
	for s := range n {
		top = max(top, s)
	}
	defer func() { n[seq] = true }()
	switch {
	case n[seq]:
		return arrivedAgain
	case seq < top:
		return arrivedLate
	case seq > top+1:
		return arrivedAhead
	}
	return arrivedInOrder
}

func (n naive) oldest() uint32 {
	for s := uint32(1); ; s++ {
		if !n[s] {
			return s
		}
	}
}

// TestInboxAgainstANaiveOne compares with the naive inbox: messages in any order within the window, some twice, some
// never.
func TestInboxAgainstANaiveOne(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var b inbox
		all := naive{}
		sent := uint32(0)
		var under []uint32
		for range 400 {
			if room := sent+1-all.oldest() < inboxWindow; room != b.room(sent+1) {
				t.Fatalf("room for %d: %v, want %v", sent+1, b.room(sent+1), room)
			} else if room && r.IntN(2) == 0 {
				sent++
				under = append(under, sent)
			}
			if len(under) == 0 {
				continue
			}
			k := r.IntN(min(len(under), 1+r.IntN(len(under))))
			seq := under[k]
			switch r.IntN(20) {
			case 0: // lost
			case 1: // will come again
				under = append(under, seq)
				fallthrough
			default:
				if got, want := b.take(seq), all.take(seq); got != want {
					t.Fatalf("message %d: %d, want %d (%+v)", seq, got, want, b)
				}
			}
			under = append(under[:k], under[k+1:]...)
			if b.oldest() != all.oldest() {
				t.Fatalf("oldest %d, want %d (%+v)", b.oldest(), all.oldest(), b)
			}
		}
	}
}
