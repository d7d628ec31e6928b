package record

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

var layoutRow = regexp.MustCompile(`(?m)^//\t *(\d+) +(\d+)   `)

// TestLayoutIsDocumented: the table of the package's comment is that of the constants, without gaps.
func TestLayoutIsDocumented(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	end := 0
	for _, row := range layoutRow.FindAllSubmatch(source, -1) {
		var at, n int
		if _, err := fmt.Sscan(string(row[1])+" "+string(row[2]), &at, &n); err != nil || at != end {
			t.Errorf("row %q does not begin at %d: %v", row[0], end, err)
		}
		got = append(got, at)
		end = at + n
	}
	want := []int{inAt, inAt + sequenceBytes, outAt, outAt + sequenceBytes, epochAt, suiteAt, flagsAt, uselessAt,
		progressAt, partAt}
	if !slices.Equal(got, want) || end != StateBytes {
		t.Errorf("rows at %v, want %v, and the end at %d", got, want, end)
	}
}

// TestStateIsAView: states lie side by side in a table of bytes, and touch nothing else.
func TestStateIsAView(t *testing.T) {
	slots := bytes.Repeat([]byte{0xA5}, 3*StateBytes)
	clear(slots[StateBytes : 2*StateBytes])
	s := (*State)(slots[StateBytes:])
	c := &suites[2]
	_, client := newEnds(t, c)
	start(t, c, s, false)
	var l Live
	sealed, ok := s.Seal(&l, nil, []byte("x"), nil)
	if got := client.receive(t, sealed); !ok || got.plain != "x" {
		t.Error(got)
	}
	if o := s.Open(&l, client.Close(&client.live, nil), nil); o.End == nil {
		t.Error("no end")
	}
	s.Clear()
	for i, b := range slots {
		if inside := i/StateBytes == 1; !inside && b != 0xA5 || inside && b != 0 && (i-StateBytes)/8 != epochAt/8 {
			t.Fatalf("byte %d is %#x", i, b)
		}
	}
}

// TestOneLiveServesMany: connections share a Live, in turn, and in one slot after the other.
func TestOneLiveServesMany(t *testing.T) {
	var slot State
	var shared Live
	others := make([]State, len(suites))
	for range 2 {
		for i := range suites[1:] {
			start(t, &suites[i+1], &slot, false)
			checkServes(t, &shared, &slot)
			slot.Clear()
		}
		for i := range suites[1:] {
			start(t, &suites[i+1], &others[i], false)
			checkServes(t, &shared, &others[i])
		}
	}
}

// checkServes lets a server with a Live answer a client.
func checkServes(t *testing.T, l *Live, s *State) {
	t.Helper()
	_, client := newEnds(t, s.suite())
	for range 2 {
		if o := s.Open(l, client.seal(t, "question"), nil); o.Plain != len("question") {
			t.Fatalf("%#x: %+v", s.suite().id, o)
		}
		sealed, _ := s.Seal(l, nil, []byte("answer"), nil)
		if got := client.receive(t, sealed); got.plain != "answer" {
			t.Fatalf("%#x: %v", s.suite().id, got)
		}
	}
}

// TestEpochOutlivesClear: a Live cannot take the keys of a slot's next connection for those of the last.
func TestEpochOutlivesClear(t *testing.T) {
	var s State
	last := uint64(0)
	for range 3 {
		start(t, &suites[1], &s, false)
		if s.epoch() <= last {
			t.Fatalf("epoch %d after %d", s.epoch(), last)
		}
		s.rekey(s.in())
		last = s.epoch()
		s.Clear()
	}
}

// TestStartRefuses: an unknown suite, and secrets of a wrong length. The state is cleared.
func TestStartRefuses(t *testing.T) {
	p := func(n int) []byte { return counting(n, 1) }
	for i, test := range []struct {
		h    Handshake
		want error
	}{
		{Handshake{Suite: 0x1301, ClientSecret: p(32), ServerSecret: p(32)}, nil},
		{Handshake{Suite: 0x1302, ClientSecret: p(48), ServerSecret: p(48)}, nil},
		{Handshake{Suite: 0xc02f, Master: p(48), ClientRandom: p(32), ServerRandom: p(32)}, nil},
		{Handshake{}, errSuite},
		{Handshake{Suite: 0x1304, ClientSecret: p(32), ServerSecret: p(32)}, errSuite},
		{Handshake{Suite: 0xc013, Master: p(48), ClientRandom: p(32), ServerRandom: p(32)}, errSuite},
		{Handshake{Suite: 0x1301, ClientSecret: p(48), ServerSecret: p(48)}, errSecret},
		{Handshake{Suite: 0x1301, ClientSecret: p(32)}, errSecret},
		{Handshake{Suite: 0x1302, ClientSecret: p(48), ServerSecret: p(47)}, errSecret},
		{Handshake{Suite: 0x1302, Master: p(48), ClientRandom: p(32), ServerRandom: p(32)}, errSecret},
		{Handshake{Suite: 0xc02f, Master: p(32), ClientRandom: p(32), ServerRandom: p(32)}, errSecret},
		{Handshake{Suite: 0xc02f, Master: p(48), ServerRandom: p(32)}, errSecret},
		{Handshake{Suite: 0xc02f, Master: p(48), ClientRandom: p(32), ServerRandom: p(31)}, errSecret},
	} {
		var s State
		start(t, &suites[1], &s, true)
		if err := s.Start(&test.h); err != test.want {
			t.Errorf("%d: %v, want %v", i, err, test.want)
		}
		s.setEpoch(0)
		if test.want != nil && s != (State{}) {
			t.Errorf("%d: not cleared: %x", i, s)
		}
	}
}
