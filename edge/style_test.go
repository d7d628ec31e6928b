package edge

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/stats"
)

// exchangeWith sends a request and the origin's reply to it, and returns what the client gets.
func exchangeWith(t *testing.T, l *fakeLink, c *client, body, reply string) httpResponse {
	t.Helper()
	c.post(body)
	l.reply(l.next().id, reply)
	return c.get().want(t, 200, "<body")
}

const (
	notFound = "<body type='terminate' condition='item-not-found' " + ns + "/>"
	created  = "<body sid='s1' " + ns + "/>"
)

func kindOf(r httpResponse) string { return r.Header.Get("Content-Type") }

// sidOf returns the session ID in the reply to a creation.
func sidOf(r httpResponse) string {
	_, after, _ := strings.Cut(r.text, "sid='")
	sid, _, _ := strings.Cut(after, "'")
	return sid
}

// TestInventedContentTypesAreNotLearnt: a client that forges session IDs gets the content types that they name, and
// does not evict those of other clients.
func TestInventedContentTypesAreNotLearnt(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	for i := range 3 * maxContentTypes {
		asked := fmt.Sprintf("a/b%d", i)
		r := exchangeWith(t, l, c, empty("nobody.~"+encodeContent([]byte(asked)), 1), notFound)
		if kindOf(r) != asked {
			t.Fatalf("got %q, not %q", kindOf(r), asked)
		}
	}
	for _, refused := range []string{notFound, "<body type='terminate' " + ns + "/>"} {
		exchangeWith(t, l, c, creation("content='a/b' ver='1.6'"), refused)
	}
	e.group.Do(func(_ reactor, h handler) {
		if w := h.(*worker); len(w.styles.contents) != 1 || len(w.unlearnt) != 0 {
			t.Errorf("%d content types are learnt, %d remembered", len(w.styles.contents)-1, len(w.unlearnt))
		}
	})
	r := exchangeWith(t, l, c, creation("content='text/plain; charset=utf-8' ver='1.6'"), created)
	again := exchangeWith(t, l, c, empty(sidOf(r), 2), "<body "+ns+"/>")
	if kindOf(r) != "text/plain; charset=utf-8" || kindOf(again) != kindOf(r) {
		t.Errorf("a session got %q, then %q", kindOf(r), kindOf(again))
	}
	if n := e.Counter(stats.ContentOverflow); n != 0 {
		t.Errorf("%d types had no room", n)
	}
}

// TestContentTypesAreForgotten: more sessions than the table has room for, each with its own type, get what they asked
// for. Types in use stay, and the others are evicted in the order of their last use.
func TestContentTypesAreForgotten(t *testing.T) {
	e, l := one(t, nil)
	c, holder := connect(t, e), connect(t, e)
	first := exchangeWith(t, l, c, creation("content='a/first' ver='1.6'"), created)
	holder.post(empty(sidOf(first), 2)) // held throughout
	held := l.next()
	const more = maxContentTypes + 50
	for i := range more {
		e.advance(1) // to make their order known
		asked := fmt.Sprintf("a/b%d", i)
		r := exchangeWith(t, l, c, creation("content='"+asked+"' ver='1.6'"), created)
		again := exchangeWith(t, l, c, empty(sidOf(r), 2), "<body "+ns+"/>")
		if kindOf(r) != asked || kindOf(again) != asked {
			t.Fatalf("got %q, then %q, not %q", kindOf(r), kindOf(again), asked)
		}
	}
	e.group.Do(func(_ reactor, h handler) {
		s := h.(*worker).styles
		if len(s.contents) != maxContentTypes || len(s.learnt) != maxContentTypes-1 {
			t.Errorf("%d places for %d content types", len(s.contents), len(s.learnt))
		}
		for asked, want := range map[string]bool{"a/first": true, "a/b0": false, fmt.Sprintf("a/b%d", more-1): true} {
			if _, ok := s.learnt[encodeContent([]byte(asked))]; ok != want {
				t.Errorf("%s is learnt: %v", asked, ok)
			}
		}
		uses := 0
		for _, x := range s.contents {
			uses += x.uses
		}
		if uses != 1 {
			t.Errorf("%d uses are counted, not the one", uses)
		}
	})
	l.reply(held.id, "<body "+ns+"/>")
	if r := holder.get().want(t, 200, "<body"); kindOf(r) != "a/first" {
		t.Errorf("the held request got %q", kindOf(r))
	}
}

// TestContentTypesInUse: if all learnt types have holds, another one is still served.
func TestContentTypesInUse(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	ids := map[uint64]string{}
	clients := map[string]*client{}
	for i := range maxContentTypes - 1 {
		asked := fmt.Sprintf("a/b%d", i)
		r := exchangeWith(t, l, c, creation("content='"+asked+"' ver='1.6'"), created)
		clients[asked] = connect(t, e)
		clients[asked].post(empty(sidOf(r), 2))
		ids[l.next().id] = asked
	}
	r := exchangeWith(t, l, c, creation("content='a/another' ver='1.6'"), created)
	again := exchangeWith(t, l, c, empty(sidOf(r), 2), "<body "+ns+"/>")
	if kindOf(r) != "a/another" || kindOf(again) != "a/another" {
		t.Errorf("got %q, then %q", kindOf(r), kindOf(again))
	}
	until(t, e, stats.ContentOverflow, 2)
	for id, asked := range ids {
		l.reply(id, "<body "+ns+"/>")
		if r := clients[asked].get().want(t, 200, "<body"); kindOf(r) != asked {
			t.Fatalf("a held request got %q, not %q", kindOf(r), asked)
		}
	}
}
