package chat

// The crowd is the sessions that see each other. It is bounded, and one who is in it stays in it until he leaves, so
// that nobody is left with a contact that no longer tells him anything.

// joinCrowd takes c into the crowd if there is room, and reports whether it is in it.
func (s *Service) joinCrowd(c *client) bool {
	if c.place != 0 {
		return true
	}
	if len(s.crowd) >= s.cfg.CrowdUsers {
		return false
	}
	s.crowd = append(s.crowd, c)
	c.place = int32(len(s.crowd))
	return true
}

// leaveCrowd gives the place of c to the last one.
func (s *Service) leaveCrowd(c *client) {
	if c.place == 0 {
		return
	}
	last := len(s.crowd) - 1
	moved := s.crowd[last]
	s.crowd[c.place-1] = moved
	moved.place = c.place
	s.crowd[last] = nil
	s.crowd = s.crowd[:last]
	c.place = 0
}

// eachSeen calls yield with the available resources that c sees, which are those that see c: the crowd, if c is in it,
// and the other resources of its account.
func (s *Service) eachSeen(c *client, yield func(*client)) {
	if c.place != 0 {
		for _, d := range s.crowd {
			if d.available && !d.sameAccount(c) {
				yield(d)
			}
		}
	}
	for d := s.online[c.name()]; d != nil; d = d.next {
		if d.available && d != c {
			yield(d)
		}
	}
}

// sees reports whether c and d see each other.
func (c *client) sees(d *client) bool {
	return c.place != 0 && d.place != 0 || c.sameAccount(d)
}

// crowdResource is the first available resource of c's account that is in the crowd; nil when there is none.
func (s *Service) crowdResource(name string) *client {
	for d := s.online[name]; d != nil; d = d.next {
		if d.available && d.place != 0 {
			return d
		}
	}
	return nil
}
