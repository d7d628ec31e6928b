package chat

import (
	"bytes"
	"slices"
	"strconv"

	"megaphone/codec/markup"
)

// Rooms implement the part of XEP-0045 that a browser chat needs to open a room, talk in it and leave. A room is at
// NAME@conference.DOMAIN. The first client to join creates and owns it. It is open to all, shows everyone's address,
// keeps no history, and ends with its last occupant.
//
//	presence to room/nick               joins, changes the nick or the presence
//	presence unavailable to it          leaves; so does the end of the session
//	message groupchat to room           is sent to all; with a subject and no body it changes the subject
//	message to room/nick                is sent to that occupant
//	iq to room                          disco, the instant room's form, destroying it, the owners' list, self-ping
//
// Sessions of one account may share a nick. Not implemented: history, passwords, moderation, affiliations but the
// owner's, registration, configuration, mediated invitations. These get errors.

// roomsLabel precedes the served domain in the domain of rooms.
const roomsLabel = "conference."

// The bounds of a room that are not configured.
const (
	maxRoomNameBytes     = 256
	maxRoomPresenceBytes = 1024 // kept and multiplied
	maxSubjectBytes      = 1024
	maxListed            = 200 // rooms in one list
)

// rooms holds all rooms by name.
//
// Invariant: no room is empty, and each occupant's client has the room among its joined ones.
type rooms struct {
	byName    map[string]*room
	occupants int
}

type room struct {
	name      string
	owner     string // bare JID of its creator
	occupants []occupant
	subject   string // the rest, after from and to, of the message that set it; "" if there is none
	subjectBy string // the nick of that message's sender
}

// occupant is one session in a room.
type occupant struct {
	c        *client
	nick     string
	presence string // the rest after from and to, without the end tag; shared with equal ones
}

func (r *rooms) init() { r.byName = make(map[string]*room) }

// of returns the index of c among the occupants, or -1.
func (r *room) of(c *client) int {
	return slices.IndexFunc(r.occupants, func(o occupant) bool { return o.c == c })
}

// named returns the index of the first occupant with that nick, or -1.
func (r *room) named(nick []byte) int {
	return slices.IndexFunc(r.occupants, func(o occupant) bool { return o.nick == string(nick) })
}

// shares reports whether another session has the nick of o.
func (r *room) shares(o *occupant) bool {
	return slices.ContainsFunc(r.occupants, func(p occupant) bool { return p.nick == o.nick && p.c != o.c })
}

// roomPresence processes presence to the domain of rooms.
func (s *Service) roomPresence(c *client, e *element, a *address) {
	r := s.rooms.byName[string(a.local)]
	switch kind := string(e.kind); {
	case kind == "unavailable":
		if r != nil && r.of(c) >= 0 {
			s.leaveRoom(r, c, string(appendOpen(nil, e, nsRooms)))
		}
	case kind != "":
		// Subscription stanzas, which do not apply to rooms.
	case a.local == nil:
		s.refuse(c, e, errServiceUnavailable)
	case a.resource == nil:
		s.refuse(c, e, errJIDMalformed) // XEP-0045, section 7.2.1: no nick
	case len(e.raw) > maxRoomPresenceBytes || len(a.local) > maxRoomNameBytes || len(a.resource) > maxResourceBytes:
		s.refuse(c, e, errNotAcceptable)
	case r != nil && r.of(c) >= 0:
		s.changeOccupant(r, c, e, a)
	default:
		s.joinRoom(r, c, e, a)
	}
}

// joinRoom adds c to room r, or to a new room if r is nil (section 7.2).
func (s *Service) joinRoom(r *room, c *client, e *element, a *address) {
	switch {
	case c.rare != nil && len(c.rare.joined) >= s.cfg.MaxJoined, r == nil && len(s.rooms.byName) >= s.cfg.MaxRooms:
		s.refuse(c, e, errResourceConstraint)
		return
	case r != nil && len(r.occupants) >= s.cfg.MaxOccupants:
		s.refuse(c, e, errServiceUnavailable) // section 7.2.9
		return
	case r != nil && r.isTaken(a.resource, c):
		s.refuse(c, e, errConflict)
		return
	}
	made := r == nil
	if made {
		r = &room{name: string(a.local), owner: c.bare()}
		s.rooms.byName[r.name] = r
	}
	shown := make(map[string]bool)
	for i := range r.occupants {
		if o := &r.occupants[i]; !shown[o.nick] {
			shown[o.nick] = true
			s.sendOccupant(r, o, c, notice{})
		}
	}
	s.text = appendOpen(s.text[:0], e, nsRooms)
	r.occupants = append(r.occupants, occupant{c, string(a.resource), s.presences.intern(s.text)})
	s.rooms.occupants++
	c.rarely().joined = append(c.rarely().joined, r)
	joined := notice{own: statusOpen}
	if made {
		joined.own += "<status code='201'/>"
	}
	s.broadcast(r, &r.occupants[len(r.occupants)-1], joined)
	s.sendSubject(r, c)
}

// isTaken reports whether a nick belongs to another account.
func (r *room) isTaken(nick []byte, c *client) bool {
	i := r.named(nick)
	return i >= 0 && !r.occupants[i].c.sameAccount(c)
}

// changeOccupant processes presence of an occupant: another presence or nick (sections 7.6 and 7.7), or a repeated join
// of a client that has lost its state.
func (s *Service) changeOccupant(r *room, c *client, e *element, a *address) {
	i := r.of(c)
	o := &r.occupants[i]
	if o.nick != string(a.resource) {
		if r.isTaken(a.resource, c) {
			s.refuse(c, e, errConflict)
			return
		}
		nick := string(a.resource)
		if !r.shares(o) {
			s.broadcast(r, &occupant{c, o.nick, presenceGoneOpen}, notice{newNick: nick})
		}
		o.nick = nick
	}
	s.text = appendOpen(s.text[:0], e, nsRooms)
	o.presence = s.presences.intern(s.text)
	var join element
	if !e.find(&join, "x", nsRooms) {
		s.broadcast(r, o, notice{})
		return
	}
	for j := range r.occupants {
		if p := &r.occupants[j]; p.nick != o.nick {
			s.sendOccupant(r, p, c, notice{})
		}
	}
	s.broadcast(r, o, notice{own: statusOpen})
	s.sendSubject(r, c)
}

// presenceGoneOpen is presenceGone without the end tag.
const presenceGoneOpen = " type='unavailable'>"

// leaveRoom removes c from the room, and deletes an empty room (sections 7.14 and 10.9). presence is the last of c.
func (s *Service) leaveRoom(r *room, c *client, presence string) {
	i := r.of(c)
	o := r.occupants[i]
	o.presence = presence
	if r.shares(&o) {
		s.sendOccupant(r, &o, c, notice{gone: true, own: statusSelf})
	} else {
		s.broadcast(r, &o, notice{gone: true})
	}
	s.dropOccupant(r, i)
}

// dropOccupant removes an occupant.
func (s *Service) dropOccupant(r *room, i int) {
	joined := &r.occupants[i].c.rare.joined
	*joined = slices.DeleteFunc(*joined, func(other *room) bool { return other == r })
	r.occupants = slices.Delete(r.occupants, i, i+1)
	s.rooms.occupants--
	if len(r.occupants) == 0 {
		delete(s.rooms.byName, r.name)
	}
}

// leaveRooms removes c from all its rooms.
func (s *Service) leaveRooms(c *client) {
	for c.rare != nil && len(c.rare.joined) > 0 {
		s.leaveRoom(c.rare.joined[0], c, presenceGoneOpen)
	}
}

// Status codes (section 15.6).
const (
	statusOpen    = "<status code='100'/>" // all occupants see each other's address
	statusSelf    = "<status code='110'/>" // this presence is your own
	statusRenamed = "<status code='303'/>" // the occupant continues under another nick
)

// notice is the additional information in a room's presence.
type notice struct {
	gone    bool
	newNick string // the occupant's next nick; "" for none
	own     string // only for the occupant itself
}

// broadcast sends an occupant's presence to the whole room, and to the occupant last (section 7.2.2).
func (s *Service) broadcast(r *room, o *occupant, n notice) {
	own := n
	own.own += statusSelf
	n.own = ""
	for i := range r.occupants {
		if d := r.occupants[i].c; d != o.c {
			s.sendOccupant(r, o, d, n)
		}
	}
	s.sendOccupant(r, o, o.c, own)
}

// sendOccupant sends d the presence of an occupant.
func (s *Service) sendOccupant(r *room, o *occupant, d *client, n notice) {
	affiliation, role := r.standing(o.c)
	if n.gone {
		role = "none"
	}
	b := append(s.buf[:0], "<presence xmlns='"+nsClient+"'"...)
	b = s.appendRoomAddress(b, r, o.nick, d)
	b = append(b, o.presence...)
	b = append(b, "<x xmlns='"+nsRoomUser+"'><item jid='"...)
	b = markup.AppendEscaped(b, o.c.jid)
	b = append(b, "' affiliation='"...)
	b = append(b, affiliation...)
	b = append(b, "' role='"...)
	b = append(b, role...)
	if n.newNick != "" {
		b = append(b, "' nick='"...)
		b = markup.AppendEscaped(b, n.newNick)
	}
	b = append(b, "'/>"...)
	if n.newNick != "" {
		b = append(b, statusRenamed...)
	}
	b = append(b, n.own...)
	s.buf = append(b, "</x></presence>"...)
	d.out.Send(s.buf)
	s.stats.PresencesSent++
}

// standing returns the affiliation and the role of c in the room.
func (r *room) standing(c *client) (affiliation, role string) {
	if c.bare() == r.owner {
		return "owner", "moderator"
	}
	return "none", "participant"
}

// appendRoomAddress appends from and to. from is an occupant, or the room itself if nick is "".
func (s *Service) appendRoomAddress(b []byte, r *room, nick string, to *client) []byte {
	b = append(b, " from='"...)
	b = s.appendRoomJID(b, r)
	if nick != "" {
		b = append(b, '/')
		b = markup.AppendEscaped(b, nick)
	}
	b = append(b, "' to='"...)
	b = markup.AppendEscaped(b, to.jid)
	return append(b, '\'')
}

func (s *Service) appendRoomJID(b []byte, r *room) []byte {
	b = markup.AppendEscaped(b, r.name)
	b = append(b, "@"+roomsLabel...)
	return append(b, s.domain...)
}

// sendSubject sends c the room's subject, even an empty one (section 7.2.15).
func (s *Service) sendSubject(r *room, c *client) {
	b := append(s.buf[:0], "<message xmlns='"+nsClient+"'"...)
	b = s.appendRoomAddress(b, r, r.subjectBy, c)
	if r.subject == "" {
		b = append(b, " type='groupchat'><subject/></message>"...)
	} else {
		b = append(append(b, r.subject...), "</message>"...)
	}
	s.buf = b
	c.out.Send(b)
}

// roomMessage processes a message to the domain of rooms (sections 7.4, 7.5 and 8.1).
func (s *Service) roomMessage(c *client, e *element, a *address) {
	kind := kindOfMessage(e.kind)
	if kind == messageError {
		return
	}
	r := s.rooms.byName[string(a.local)]
	switch {
	case a.local == nil:
		s.refuse(c, e, errServiceUnavailable)
		return
	case r == nil:
		s.refuse(c, e, errItemNotFound)
		return
	case r.of(c) < 0:
		s.refuse(c, e, errNotAcceptable)
		return
	case (kind == messageGroupchat) != (a.resource == nil):
		s.refuse(c, e, errBadRequest)
		return
	case a.resource != nil:
		s.privateMessage(r, c, e, a)
		return
	}
	var child element
	isSubject := e.find(&child, "subject", string(e.space)) && !e.find(&child, "body", string(e.space))
	if isSubject && len(e.raw) > maxSubjectBytes {
		s.refuse(c, e, errNotAcceptable)
		return
	}
	from := &r.occupants[r.of(c)]
	s.text = appendOpen(s.text[:0], e, nsRoomUser)
	if isSubject {
		r.subject, r.subjectBy = string(s.text), from.nick
	}
	for i := range r.occupants {
		s.sendRoomMessage(r, from, r.occupants[i].c, s.text, "</message>")
	}
}

// privateMessage sends a message to one occupant.
func (s *Service) privateMessage(r *room, c *client, e *element, a *address) {
	if r.named(a.resource) < 0 {
		s.refuse(c, e, errItemNotFound)
		return
	}
	from := &r.occupants[r.of(c)]
	s.text = appendOpen(s.text[:0], e, nsRoomUser)
	for i := range r.occupants {
		if o := &r.occupants[i]; o.nick == string(a.resource) {
			s.sendRoomMessage(r, from, o.c, s.text, "<x xmlns='"+nsRoomUser+"'/></message>")
		}
	}
}

func (s *Service) sendRoomMessage(r *room, from *occupant, d *client, rest []byte, end string) {
	b := append(s.buf[:0], "<message xmlns='"+nsClient+"'"...)
	b = s.appendRoomAddress(b, r, from.nick, d)
	b = append(b, rest...)
	s.buf = append(b, end...)
	d.out.Send(s.buf)
	s.stats.Delivered++
}

// appendOpen appends the rest of e after from and to, without the end tag: its other attributes, and its children. It
// omits children in namespace without, which only the room may send. It keeps the id, except in presence.
func appendOpen(b []byte, e *element, without string) []byte {
	strip := cutAddress
	if string(e.local) == "presence" {
		strip = cutNames
	}
	b = appendAttributes(b, e, strip)
	if e.empty {
		return append(bytes.TrimRight(b, "/> \t\r\n"), '>')
	}
	var child element
	for i := 0; ; {
		next, ok := e.child(&child, i)
		if !ok {
			return b
		}
		if space := string(child.space); space != without && space != nsRoomUser {
			b = append(b, child.raw...)
		}
		i = next
	}
}

// roomIQ processes a request to the domain of rooms.
func (s *Service) roomIQ(c *client, e, query *element, a *address) {
	get := string(e.kind) == "get"
	r := s.rooms.byName[string(a.local)]
	switch {
	case a.local == nil:
		s.serveRooms(c, e, query, get)
	case r == nil:
		s.refuse(c, e, errItemNotFound)
	case a.resource != nil:
		i := r.of(c)
		switch {
		case !query.is("ping", nsPing) || !get:
			s.refuse(c, e, errServiceUnavailable) // every occupant's address is known: ask there
		case i < 0 || r.occupants[i].nick != string(a.resource):
			s.refuse(c, e, errNotAcceptable) // XEP-0410
		default:
			s.answer(c, e, nil)
		}
	default:
		s.serveRoom(r, c, e, query, get)
	}
}

// serveRooms answers a request to the domain of rooms itself (sections 6.1 to 6.3).
func (s *Service) serveRooms(c *client, e, query *element, get bool) {
	switch {
	case query.is("ping", nsPing) && get:
		s.answer(c, e, nil)
	case (query.is("query", nsDiscoInfo) || query.is("query", nsDiscoItems)) && get && query.attribute("node") != nil:
		s.refuse(c, e, errItemNotFound)
	case query.is("query", nsDiscoInfo) && get:
		s.answer(c, e, []byte("<query xmlns='"+nsDiscoInfo+"'>"+
			"<identity category='conference' type='text' name='Rooms'/><feature var='"+nsDiscoInfo+"'/>"+
			"<feature var='"+nsDiscoItems+"'/><feature var='"+nsPing+"'/><feature var='"+nsRooms+"'/></query>"))
	case query.is("query", nsDiscoItems) && get:
		names := make([]string, 0, len(s.rooms.byName))
		for name := range s.rooms.byName {
			names = append(names, name)
		}
		slices.Sort(names)
		b := []byte("<query xmlns='" + nsDiscoItems + "'>")
		for _, name := range names[:min(len(names), maxListed)] {
			b = append(b, "<item jid='"...)
			b = s.appendRoomJID(b, s.rooms.byName[name])
			b = append(b, "' name='"...)
			b = markup.AppendEscaped(b, name)
			b = append(b, "'/>"...)
		}
		s.answer(c, e, append(b, "</query>"...))
	default:
		s.refuse(c, e, errServiceUnavailable)
	}
}

// serveRoom answers a request to a room (sections 6.4, 6.5, 9.5 and 10).
func (s *Service) serveRoom(r *room, c *client, e, query *element, get bool) {
	isOwner := c.bare() == r.owner
	switch {
	case query.is("query", nsDiscoInfo) && get && query.attribute("node") != nil:
		s.refuse(c, e, errNotImplemented) // no nick is reserved (section 7.12)
	case query.is("query", nsDiscoInfo) && get:
		s.answer(c, e, r.info())
	case query.is("query", nsDiscoItems) && get:
		s.answer(c, e, []byte("<query xmlns='"+nsDiscoItems+"'/>"))
	case query.is("query", nsRoomAdmin) && get:
		s.listAffiliation(r, c, e, query)
	case query.is("query", nsRoomAdmin):
		s.refuse(c, e, errNotAllowed)
	case query.is("query", nsRoomOwner) && !isOwner:
		s.refuse(c, e, errForbidden)
	case query.is("query", nsRoomOwner) && get:
		s.answer(c, e, []byte("<query xmlns='"+nsRoomOwner+"'><x xmlns='"+nsForm+"' type='form'>"+
			"<title>Nothing can be set in this room</title><field var='FORM_TYPE' type='hidden'><value>"+
			nsRooms+"#roomconfig</value></field></x></query>"))
	case query.is("query", nsRoomOwner):
		s.configureRoom(r, c, e, query)
	default:
		s.refuse(c, e, errServiceUnavailable)
	}
}

// info returns the room's disco#info.
func (r *room) info() []byte {
	b := append([]byte(nil), "<query xmlns='"+nsDiscoInfo+"'><identity category='conference' type='text' name='"...)
	b = markup.AppendEscaped(b, r.name)
	b = append(b, "'/>"...)
	for _, f := range []string{nsDiscoInfo, nsRooms, nsRoomPing, "muc_public", "muc_temporary", "muc_open",
		"muc_nonanonymous", "muc_unmoderated", "muc_unsecured"} {
		b = append(b, "<feature var='"+f+"'/>"...)
	}
	b = append(b, "<x xmlns='"+nsForm+"' type='result'><field var='FORM_TYPE' type='hidden'><value>"+nsRooms+
		"#roominfo</value></field><field var='muc#roominfo_occupants'><value>"...)
	b = strconv.AppendInt(b, int64(len(r.occupants)), 10)
	return append(b, "</value></field></x></query>"...)
}

// listAffiliation lists the occupants with an affiliation: one owns the room, all others have none.
func (s *Service) listAffiliation(r *room, c *client, e, query *element) {
	var item element
	switch {
	case !query.onlyChild(&item) || !item.is("item", nsRoomAdmin):
		s.refuse(c, e, errBadRequest)
	case r.of(c) < 0:
		s.refuse(c, e, errForbidden)
	case string(item.attribute("affiliation")) == "owner":
		b := []byte("<query xmlns='" + nsRoomAdmin + "'><item affiliation='owner' jid='")
		s.answer(c, e, append(markup.AppendEscaped(b, r.owner), "'/></query>"...))
	default:
		s.answer(c, e, []byte("<query xmlns='"+nsRoomAdmin+"'/>"))
	}
}

// configureRoom processes the form of an instant room (section 10.1.2), which sets nothing, or destroys the room
// (10.9).
func (s *Service) configureRoom(r *room, c *client, e, query *element) {
	var child, field element
	switch {
	case !query.onlyChild(&child):
		s.refuse(c, e, errBadRequest)
	case child.is("destroy", nsRoomOwner):
		s.answer(c, e, nil)
		s.destroyRoom(r)
	case child.is("x", nsForm) && string(child.kind) == "submit":
		for i := 0; ; {
			next, ok := child.child(&field, i)
			if !ok {
				s.answer(c, e, nil)
				return
			}
			if string(field.attribute("var")) != "FORM_TYPE" {
				s.refuse(c, e, errNotAcceptable)
				return
			}
			i = next
		}
	case child.is("x", nsForm) && string(child.kind) == "cancel":
		s.answer(c, e, nil)
	default:
		s.refuse(c, e, errBadRequest)
	}
}

// destroyRoom removes all occupants.
func (s *Service) destroyRoom(r *room) {
	for len(r.occupants) > 0 {
		o := r.occupants[0]
		o.presence = presenceGoneOpen
		s.sendOccupant(r, &o, o.c, notice{gone: true, own: "<destroy/>" + statusSelf})
		s.dropOccupant(r, 0)
	}
}
