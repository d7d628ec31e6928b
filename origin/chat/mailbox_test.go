package chat

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestMailboxesAgainstModel compares random puts and takes with a map of slices, whose bounds are recounted each time.
func TestMailboxesAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	cfg := Config{MailboxMessages: 4, MailboxBytes: 500, AllMailboxMessages: 9, AllMailboxBytes: 1200}
	var m mailboxes
	m.init(&cfg)
	model := map[string][]string{}
	weigh := func(stanzas []string) (bytes int) {
		for _, s := range stanzas {
			bytes += len(s) + mailboxOverheadBytes
		}
		return bytes
	}
	refused := 0
	for range 20_000 {
		name := strconv.Itoa(r.IntN(5))
		if r.IntN(4) == 0 {
			if got := m.take(name); !slices.Equal(got, model[name]) {
				t.Fatalf("took %q, want %q", got, model[name])
			}
			delete(model, name)
		} else {
			stanza := make([]byte, r.IntN(200))
			for i := range stanza {
				stanza[i] = byte('a' + r.IntN(26))
			}
			size, messages, bytes := len(stanza)+mailboxOverheadBytes, 0, 0
			for _, box := range model {
				messages += len(box)
				bytes += weigh(box)
			}
			fits := len(model[name]) < 4 && weigh(model[name])+size <= 500 && messages < 9 && bytes+size <= 1200
			if m.put(name, stanza) != fits {
				t.Fatalf("put: want %v", fits)
			}
			if fits {
				model[name] = append(model[name], string(stanza))
			} else {
				refused++
			}
		}
		if len(m.byName) != len(model) {
			t.Fatalf("%d mailboxes, want %d", len(m.byName), len(model))
		}
	}
	if refused == 0 {
		t.Error("no bound was ever reached")
	}
}
