//go:build invariants

package chat

import "fmt"

// maxChecked bounds what is checked after every stanza.
const maxChecked = 4096

// checkInvariants panics when the tables contradict each other.
func (s *Service) checkInvariants() {
	if s.stats.Users > maxChecked {
		return
	}
	users, available := 0, 0
	for name, c := range s.online {
		for ; c != nil; c = c.next {
			users++
			if c.available {
				available++
			}
			assert(c.state == stateBound, "a client online that is not bound")
			assert(c.name() == name, "a client under another's name")
			assert(c.next.find([]byte(c.resource())) == nil, "a resource twice")
			assert(c.available == (c.presence != ""), "presence without being available")
			assert(c.place == 0 || s.crowd[c.place-1] == c, "a place in the crowd that is another's")
		}
	}
	assert(users == s.stats.Users, "users miscounted")
	assert(available == s.stats.Available, "available users miscounted")
	for i, c := range s.crowd {
		assert(c.place == int32(i)+1, "in the crowd without knowing")
		assert(c.state == stateBound, "in the crowd without being bound")
	}
	messages, bytes := 0, 0
	for _, box := range s.mailboxes.byName {
		assert(len(box.stanzas) > 0, "an empty mailbox")
		messages += len(box.stanzas)
		bytes += box.bytes
	}
	assert(messages == s.mailboxes.messages && bytes == s.mailboxes.bytes, "mailboxes miscounted")
}

func assert(ok bool, problem string) {
	if !ok {
		panic(fmt.Sprint("chat: invariant broken: ", problem))
	}
}
