package chat

import (
	"slices"
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"

	"megaphone/codec/markup"
)

// rosters holds the contacts of all accounts in memory, within bounds per account and in total. The bounds per account
// prevent one account from filling the server, and others' requests from filling an account.
//
// Invariant: contacts of two local accounts mirror each other. One's to is the other's from, and asked is set if and
// only if the other has the request. bytes is the sum over all contacts.
type rosters struct {
	cfg    *Config
	byName map[string]*book
	bytes  int
}

// book holds the contacts of one account. A contact that the account did not add itself is a stranger.
type book struct {
	contacts  []*contact
	strangers int
}

// contact is the relation of an account to another address, from the account's side.
type contact struct {
	jid     string   // bare
	nameEnd int      // jid[:nameEnd] is the localpart of a local account; 0: the contact is not local
	label   string   // the account's name for it
	groups  []string // the account's groups for it
	request string   // the contact's unanswered request: the stanza
	own     bool     // added by the account itself
	to      bool     // the account receives the contact's presence
	from    bool     // the contact receives the account's presence
	asked   bool     // the account has requested the contact's presence
}

// contactOverheadBytes is counted for each contact beyond its text.
const contactOverheadBytes = 160

// The limits of a contact; more is not-acceptable (RFC 6121, section 2.3.3).
const (
	maxLabelBytes   = 1023
	maxGroups       = 16
	maxGroupBytes   = 255
	maxRequestBytes = 1024
)

func (k *contact) name() string { return k.jid[:k.nameEnd] }

// shown reports whether the account sees the contact in its roster. A request alone does not add it (RFC 6121, section
// 3.1.3).
func (k *contact) shown() bool { return k.own || k.to || k.from }

func (k *contact) bytes() int {
	n := contactOverheadBytes + len(k.jid) + len(k.label) + len(k.request)
	for _, g := range k.groups {
		n += len(g)
	}
	return n
}

func (r *rosters) init(cfg *Config) {
	r.cfg = cfg
	r.byName = make(map[string]*book)
}

// of returns the contacts of an account.
func (r *rosters) of(name string) []*contact {
	if b := r.byName[name]; b != nil {
		return b.contacts
	}
	return nil
}

// find returns an account's contact with that bare JID, or nil.
func (r *rosters) find(name, bare string) *contact {
	for _, k := range r.of(name) {
		if k.jid == bare {
			return k
		}
	}
	return nil
}

// meet returns an account's contact, and creates it if needed. It returns nil if a bound is reached. own: the account
// adds it.
func (r *rosters) meet(name, bare string, nameEnd int, own bool) *contact {
	k := r.find(name, bare)
	if k != nil && (k.own || !own) {
		return k
	}
	b := r.byName[name]
	if b == nil {
		b = new(book)
	}
	switch {
	case own && len(b.contacts)-b.strangers >= r.cfg.MaxContacts:
		return nil
	case !own && b.strangers >= r.cfg.MaxRequests:
		return nil
	case k != nil:
		k.own = true
		b.strangers--
		return k
	}
	k = &contact{jid: strings.Clone(bare), nameEnd: nameEnd, own: own}
	if r.bytes+k.bytes() > r.cfg.AllRosterBytes {
		return nil
	}
	if !own {
		b.strangers++
	}
	b.contacts = append(b.contacts, k)
	r.bytes += k.bytes()
	r.byName[strings.Clone(name)] = b
	return k
}

// change calls edit, and undoes it if the new size of k exceeds the bound.
func (r *rosters) change(k *contact, edit func()) bool {
	before := *k
	edit()
	if r.bytes+k.bytes()-before.bytes() > r.cfg.AllRosterBytes {
		*k = before
		return false
	}
	r.bytes += k.bytes() - before.bytes()
	return true
}

// disown turns k into a stranger, and removes it if nothing else is left of it.
func (r *rosters) disown(name string, k *contact) {
	k.own = false
	r.byName[name].strangers++
	r.tidy(name, k)
}

// tidy removes a contact without relations.
func (r *rosters) tidy(name string, k *contact) {
	if !k.shown() && k.request == "" {
		r.remove(name, k)
	}
}

func (r *rosters) remove(name string, k *contact) {
	b := r.byName[name]
	i := slices.Index(b.contacts, k)
	b.contacts = slices.Delete(b.contacts, i, i+1)
	if !k.own {
		b.strangers--
	}
	r.bytes -= k.bytes()
	if len(b.contacts) == 0 {
		delete(r.byName, name)
	}
}

// roster answers a roster request (RFC 6121, section 2). The roster has the account's contacts, those of the crowd, and
// the names of the accounts file if they are few enough.
func (s *Service) roster(c *client, e, query *element, get bool) {
	if !get {
		s.rosterSet(c, e, query)
		return
	}
	c.interested = true
	newcomer := s.crowdResource(c.name()) == nil
	joined := c.place == 0 && s.joinCrowd(c)
	b := s.appendResult(s.buf[:0], c, e)
	b = append(b, "><query xmlns='"+nsRoster+"'>"...)
	for _, k := range s.rosters.of(c.name()) {
		if k.shown() {
			b = s.appendContact(b, c, k)
		}
	}
	s.eachImplicit(c, func(name string) {
		if k := s.rosters.find(c.name(), name+"@"+s.domain); k == nil || !k.shown() {
			b = s.appendImplicit(b, name, "both")
		}
	})
	b = append(b, "</query></iq>"...)
	s.buf = b
	c.out.Send(b)
	if joined && c.available {
		s.announce(c, newcomer, true)
	}
}

// eachImplicit calls yield with the names in the roster of c that c did not add.
func (s *Service) eachImplicit(c *client, yield func(name string)) {
	fixed := s.hasFixedRoster()
	if fixed {
		for _, name := range s.cfg.Accounts.names {
			if name != c.name() {
				yield(name)
			}
		}
	}
	if c.place == 0 {
		return
	}
	for _, d := range s.crowd {
		if d.sameAccount(c) || s.crowdResource(d.name()) != d || fixed && !d.anonymous {
			continue
		}
		yield(d.name())
	}
}

// isImplicit reports whether c and the account of that name are subscribed to each other without a request.
func (s *Service) isImplicit(c *client, name string) bool {
	return c.place != 0 && s.crowdResource(name) != nil || s.inFixedRoster(name)
}

// hasFixedRoster reports whether everyone's roster lists the accounts file.
func (s *Service) hasFixedRoster() bool {
	return s.cfg.Accounts != nil && s.cfg.Accounts.len() <= s.cfg.CrowdUsers
}

// inFixedRoster reports whether name is in everyone's roster.
func (s *Service) inFixedRoster(name string) bool {
	return s.hasFixedRoster() && s.cfg.Accounts.byName[name] != nil
}

// rosterSet adds, changes or removes one contact (sections 2.3 to 2.5).
func (s *Service) rosterSet(c *client, e, query *element) {
	var item element
	if !query.onlyChild(&item) || !item.is("item", nsRoster) {
		s.refuse(c, e, errBadRequest)
		return
	}
	bare, nameEnd, ok := s.bareContact(item.attribute("jid"))
	switch {
	case !ok:
		s.refuse(c, e, errBadRequest)
		return
	case bare == c.bare():
		s.refuse(c, e, errNotAllowed)
		return
	case string(item.attribute("subscription")) == "remove":
		s.rosterRemove(c, e, bare, nameEnd)
		return
	}
	label := string(markup.AppendValue(nil, item.attribute("name")))
	groups, ok := readGroups(&item)
	if !ok || len(label) > maxLabelBytes {
		s.refuse(c, e, errNotAcceptable)
		return
	}
	before := s.rosters.find(c.name(), bare)
	isNew := before == nil || !before.own
	k := s.rosters.meet(c.name(), bare, nameEnd, true)
	if k == nil || !s.rosters.change(k, func() { k.label, k.groups = label, groups }) {
		if k != nil && isNew {
			s.rosters.disown(c.name(), k)
		}
		s.refuse(c, e, errResourceConstraint)
		return
	}
	s.answer(c, e, nil)
	s.push(c.name(), k)
}

// bareContact parses the JID of an item: a bare JID, in canonical form.
func (s *Service) bareContact(raw []byte) (bare string, nameEnd int, ok bool) {
	a, ok := s.hosts.parse(raw)
	switch {
	case !ok || len(raw) == 0 || a.resource != nil:
		return "", 0, false
	case a.ours && a.local != nil:
		return string(a.local) + "@" + s.domain, len(a.local), true
	}
	j, err := jid.Parse(string(markup.AppendValue(nil, raw)))
	return j.Bare().String(), 0, err == nil
}

// readGroups parses the groups of an item. It returns false if there are too many, or one is too long, empty or
// duplicate.
func readGroups(item *element) (groups []string, ok bool) {
	var child element
	for i := 0; ; {
		next, more := item.child(&child, i)
		if !more {
			return groups, true
		}
		i = next
		if !child.is("group", nsRoster) {
			continue
		}
		group := string(child.appendText(nil))
		if group == "" || len(group) > maxGroupBytes || len(groups) >= maxGroups || slices.Contains(groups, group) {
			return nil, false
		}
		groups = append(groups, group)
	}
}

// rosterRemove removes a contact and its subscriptions (section 2.5). A contact from the crowd reappears at the next
// log-in.
func (s *Service) rosterRemove(c *client, e *element, bare string, nameEnd int) {
	k := s.rosters.find(c.name(), bare)
	switch {
	case k != nil && k.shown():
	case nameEnd > 0 && s.isImplicit(c, bare[:nameEnd]):
		s.answer(c, e, nil)
		s.pushRemoval(c.name(), bare)
		return
	default:
		s.refuse(c, e, errItemNotFound)
		return
	}
	s.answer(c, e, nil)
	s.sever(c.name(), k)
	if k.own { // otherwise tidied already
		s.rosters.disown(c.name(), k)
	}
	s.pushRemoval(c.name(), bare)
}

// appendContact appends the item of k as c sees it.
func (s *Service) appendContact(b []byte, c *client, k *contact) []byte {
	both := k.nameEnd > 0 && s.isImplicit(c, k.name())
	subscription := "none"
	switch {
	case k.to && k.from || both:
		subscription = "both"
	case k.to:
		subscription = "to"
	case k.from:
		subscription = "from"
	}
	b = append(b, "<item jid='"...)
	b = markup.AppendEscaped(b, k.jid)
	if k.label != "" {
		b = append(b, "' name='"...)
		b = markup.AppendEscaped(b, k.label)
	}
	b = append(b, "' subscription='"...)
	b = append(b, subscription...)
	if k.asked && !both {
		b = append(b, "' ask='subscribe"...)
	}
	if len(k.groups) == 0 {
		return append(b, "'/>"...)
	}
	b = append(b, "'>"...)
	for _, g := range k.groups {
		b = append(b, "<group>"...)
		b = markup.AppendEscaped(b, g)
		b = append(b, "</group>"...)
	}
	return append(b, "</item>"...)
}

// appendImplicit appends the item of an account that the roster's owner did not add.
func (s *Service) appendImplicit(b []byte, name, subscription string) []byte {
	b = append(b, "<item jid='"...)
	b = markup.AppendEscaped(b, name)
	b = append(b, '@')
	b = append(b, s.domain...)
	b = append(b, "' name='"...)
	b = markup.AppendEscaped(b, name)
	b = append(b, "' subscription='"...)
	b = append(b, subscription...)
	return append(b, "'/>"...)
}

// push sends the current item of contact k to the resources of an account (section 2.1.6), if it is visible.
func (s *Service) push(name string, k *contact) {
	for d := s.online[name]; d != nil && k.shown(); d = d.next {
		if d.interested {
			s.pushTo(d, func(b []byte) []byte { return s.appendContact(b, d, k) })
		}
	}
}

// pushRemoval pushes a contact's removal to the resources of an account.
func (s *Service) pushRemoval(name, bare string) {
	for d := s.online[name]; d != nil; d = d.next {
		if d.interested {
			s.pushTo(d, func(b []byte) []byte {
				b = append(b, "<item jid='"...)
				return append(markup.AppendEscaped(b, bare), "' subscription='remove'/>"...)
			})
		}
	}
}

// pushCrowd tells the crowd that the account of c has come ("both") or is gone for good ("remove"). Presence goes out
// in a later body, because Converse.js makes the contact of a push only after it has read the whole body. Presence in
// the same body makes its handler throw, and Strophe.js then removes the handler: all contacts stay offline.
func (s *Service) pushCrowd(c *client, subscription string) {
	if c.place == 0 || s.hasFixedRoster() && !c.anonymous {
		return
	}
	for _, d := range s.crowd {
		if !d.interested || d.sameAccount(c) {
			continue
		}
		s.pushTo(d, func(b []byte) []byte {
			if k := s.rosters.find(d.name(), c.bare()); k != nil && k.shown() && subscription != "remove" {
				return s.appendContact(b, d, k)
			}
			return s.appendImplicit(b, c.name(), subscription)
		})
		d.out.EndBody()
	}
}

func (s *Service) pushTo(d *client, appendItem func([]byte) []byte) {
	s.pushes++
	b := append(s.buf[:0], "<iq xmlns='"+nsClient+"' type='set' id='push-"...)
	b = strconv.AppendUint(b, s.pushes, 10)
	b = append(b, "' to='"...)
	b = markup.AppendEscaped(b, d.jid)
	b = append(b, "'><query xmlns='"+nsRoster+"'>"...)
	b = appendItem(b)
	s.buf = append(b, "</query></iq>"...)
	d.out.Send(s.buf)
}
