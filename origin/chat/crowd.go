package chat

// The crowd is the set of sessions that see each other. It is bounded. A session stays in it until it leaves, so that
// no client keeps a contact whose presence it no longer gets.

// joinCrowd adds c to the crowd if there is room, and reports whether c is in it.
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

// leaveCrowd removes c and moves the last session to its place.
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

// eachWatcher calls yield with the available resources that receive the presence of c: the crowd, if c is in it, the
// other resources of its account, and those of subscribed accounts.
func (s *Service) eachWatcher(c *client, yield func(*client)) {
	s.eachRelated(c, yield, func(k *contact) bool { return k.from })
}

// eachWatched calls yield with the resources whose presence c receives.
func (s *Service) eachWatched(c *client, yield func(*client)) {
	s.eachRelated(c, func(d *client) {
		if d.shown() {
			yield(d)
		}
	}, func(k *contact) bool { return k.to })
}

func (s *Service) eachRelated(c *client, yield func(*client), related func(*contact) bool) {
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
	for _, k := range s.rosters.of(c.name()) {
		if k.nameEnd == 0 || !related(k) {
			continue
		}
		for d := s.online[k.name()]; d != nil; d = d.next {
			if d.available && (c.place == 0 || d.place == 0) {
				yield(d)
			}
		}
	}
}

// watches reports whether d receives the presence of c.
func (s *Service) watches(d, c *client) bool {
	if c.place != 0 && d.place != 0 || c.sameAccount(d) {
		return true
	}
	k := s.rosters.find(c.name(), d.bare())
	return k != nil && k.from
}

// crowdResource returns the first available resource of the account that is in the crowd, or nil.
func (s *Service) crowdResource(name string) *client {
	for d := s.online[name]; d != nil; d = d.next {
		if d.available && d.place != 0 {
			return d
		}
	}
	return nil
}
