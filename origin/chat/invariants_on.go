//go:build invariants

package chat

import (
	"fmt"
	"slices"
)

// maxChecked is the number of users above which the checks are skipped.
const maxChecked = 4096

// checkInvariants panics if the tables contradict each other.
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
			assert(!c.away || c.available, "away without being available")
			assert(c.place == 0 || s.crowd[c.place-1] == c, "a place in the crowd that is another's")
		}
	}
	assert(users == s.stats.Users, "users miscounted")
	assert(available == s.stats.Available, "available users miscounted")
	for i, c := range s.crowd {
		assert(c.place == int32(i)+1, "in the crowd without knowing")
		assert(c.state == stateBound, "in the crowd without being bound")
	}
	s.checkRosters()
	s.checkRooms()
	messages, bytes := 0, 0
	for _, box := range s.mailboxes.byName {
		assert(len(box.stanzas) > 0, "an empty mailbox")
		messages += len(box.stanzas)
		bytes += box.bytes
	}
	assert(messages == s.mailboxes.messages && bytes == s.mailboxes.bytes, "mailboxes miscounted")
}

// checkRosters checks bounds and sums, and that both sides of a subscription agree.
func (s *Service) checkRosters() {
	bytes := 0
	for name, b := range s.rosters.byName {
		assert(len(b.contacts) > 0, "an empty roster")
		strangers := 0
		for _, k := range b.contacts {
			bytes += k.bytes()
			if !k.own {
				strangers++
			}
			assert(k.shown() || k.request != "", "a contact without relations")
			assert(s.rosters.find(name, k.jid) == k, "a contact twice")
			if k.nameEnd == 0 {
				assert(!k.to && !k.from && !k.asked && k.request == "", "subscribed to an address elsewhere")
				continue
			}
			other := s.rosters.find(k.name(), name+"@"+s.domain)
			if other == nil {
				other = new(contact)
			}
			assert(k.to == other.from && k.from == other.to, "subscribed on one side")
			assert(k.asked == (other.request != ""), "asked for on one side")
			assert(!k.to || !k.asked, "asked although subscribed")
		}
		assert(strangers == b.strangers && strangers <= s.cfg.MaxRequests, "strangers miscounted")
		assert(len(b.contacts)-strangers <= s.cfg.MaxContacts, "too many contacts")
	}
	assert(bytes == s.rosters.bytes && bytes <= s.cfg.AllRosterBytes, "rosters miscounted")
}

// checkRooms checks bounds, and that rooms and clients refer to each other.
func (s *Service) checkRooms() {
	occupants := 0
	for name, r := range s.rooms.byName {
		assert(r.name == name && len(r.occupants) > 0, "an empty room")
		assert(len(r.occupants) <= s.cfg.MaxOccupants, "a room too full")
		occupants += len(r.occupants)
		for i, o := range r.occupants {
			assert(o.c.state == stateBound, "in a room without being bound")
			assert(r.of(o.c) == i, "in a room twice")
			assert(slices.Contains(o.c.rare.joined, r), "in a room without knowing")
			assert(!r.isTaken([]byte(o.nick), o.c), "a nick of two accounts")
		}
	}
	assert(occupants == s.rooms.occupants && len(s.rooms.byName) <= s.cfg.MaxRooms, "rooms miscounted")
	joined := 0
	for _, c := range s.online {
		for ; c != nil; c = c.next {
			if c.rare != nil {
				joined += len(c.rare.joined)
				assert(len(c.rare.joined) <= s.cfg.MaxJoined, "in too many rooms")
			}
		}
	}
	assert(joined == occupants, "joined rooms miscounted")
}

func assert(ok bool, problem string) {
	if !ok {
		panic(fmt.Sprint("chat: invariant broken: ", problem))
	}
}
