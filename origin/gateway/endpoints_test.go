package gateway

import (
	"strings"
	"testing"

	"megaphone/codec/boshbody"
)

// created opens a session and returns the endpoint that got it.
func created(r *rig, more string, endpoints ...*endpointServer) (at *endpointServer, sid string) {
	r.t.Helper()
	id := r.post(create(more))
	r.until("a request", func(Stats) bool {
		for _, e := range endpoints {
			if len(e.posts) > 0 {
				at = e
			}
		}
		return at != nil
	})
	at.next().answer(200, "<body wait='60' sid='s1' "+ns+"/>")
	a := r.reply()
	sid, ok := strings.CutPrefix(a.body, "<body wait='60' sid='")
	sid, rest, _ := strings.Cut(sid, "'")
	if a.id != id || a.status != 200 || !ok || rest != " "+ns+"/>" {
		r.t.Fatalf("%+v", a)
	}
	return at, sid
}

// TestSessionsStay: with two endpoints the session ID names the one that has the session.
func TestSessionsStay(t *testing.T) {
	clean(t)
	a, b := newEndpoint(t), newEndpoint(t)
	r := newRig(t, nil, a, b)
	seen := map[*endpointServer]int{}
	for range 20 {
		at, sid := created(r, "ver='1.6'", a, b)
		seen[at]++
		tag := boshbody.TagOf(at.url())
		if sid != "s1."+string(tag[:]) {
			t.Fatalf("sid %q", sid)
		}
		id := r.post("<body rid='2' sid='" + sid + "' x='y' " + ns + ">z</body>")
		q := at.next()
		if q.body != "<body rid='2' sid='s1' x='y' "+ns+">z</body>" || q.req.ContentLength != int64(len(q.body)) {
			t.Fatalf("the endpoint got %q", q.body)
		}
		q.answer(200, text("hi"))
		r.want(id, 200, text("hi"))
	}
	if seen[a] == 0 || seen[b] == 0 {
		t.Errorf("%d sessions at one endpoint, %d at the other", seen[a], seen[b])
	}
}

// TestFewerHeldRequests: of two endpoints the one with fewer held requests gets the next session.
func TestFewerHeldRequests(t *testing.T) {
	clean(t)
	a, b := newEndpoint(t), newEndpoint(t)
	r := newRig(t, nil, a, b)
	first, sid := created(r, "", a, b)
	r.post(poll(sid, 2))
	first.next()
	for range 10 {
		if at, _ := created(r, "", a, b); at == first {
			t.Fatal("a session went to the endpoint that holds more")
		}
	}
}

func TestUnknownTags(t *testing.T) {
	clean(t)
	a, b := newEndpoint(t), newEndpoint(t)
	r := newRig(t, nil, a, b)
	const notFound = "<body type='terminate' condition='item-not-found' " + ns + "/>"
	tag := boshbody.TagOf(a.url())
	for sid, status := range map[string]int{
		"s1": 200, "": 200, "s1.00000000": 200, "s1.00000000l": 404, "s1." + string(tag[:]) + "zzz": 200,
	} {
		r.want(r.post(poll(sid, 2)), status, notFound)
	}
	_, sid := created(r, "", a, b) // without ver
	if !strings.HasSuffix(sid, "l") {
		t.Errorf("nothing in %q says that the client is an old one", sid)
	}
	if s := r.stats(); s.UnknownTags != 5 {
		t.Errorf("%+v", s)
	}
}

// TestOneEndpointHasNoTags: clients can also reach its sessions without the gateway.
func TestOneEndpointHasNoTags(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	if _, sid := created(r, "", e); sid != "s1" {
		t.Errorf("sid %q", sid)
	}
	id := r.post(poll("s1.00000000", 2))
	if q := e.next(); q.body != poll("s1.00000000", 2) {
		t.Errorf("%q", q.body)
	} else {
		q.answer(200, "")
	}
	r.want(id, 200, "")
}

// TestOneOfTwoIsDown: new sessions go to the other endpoint. Requests of the down endpoint's sessions go nowhere else.
func TestOneOfTwoIsDown(t *testing.T) {
	clean(t)
	a, b := newEndpoint(t), newEndpoint(t)
	r := newRig(t, nil, a, b)
	at, sid := created(r, "", a, b)
	other := map[*endpointServer]*endpointServer{a: b, b: a}[at]
	at.down()
	r.want(r.post(poll(sid, 2)), 503, "")
	r.until("it is down", func(s Stats) bool { return s.Down == 1 })
	for range 10 {
		if got, _ := created(r, "", other); got != other {
			t.Fatal("a session went nowhere")
		}
	}
	r.want(r.post(poll(sid, 2)), 503, "")
	at.up()
	r.until("it is back", func(s Stats) bool { return s.Down == 0 })
	id := r.post(poll(sid, 2))
	at.next().answer(200, text("hi"))
	r.want(id, 200, text("hi"))
}

// TestOnlyCreationsHaveSIDs: if an endpoint repeats the session ID in each reply, as Prosody does, clients do not get
// the ID without the tags that edges or the gateway appended.
func TestOnlyCreationsHaveSIDs(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for reply, want := range map[string]string{
		"<body sid='s1' " + ns + "><a sid='s1'/></body>":     "<body " + ns + "><a sid='s1'/></body>",
		"<body " + ns + " sid = \"s1\"/>":                    "<body " + ns + "/>",
		"<?xml version='1.0'?>\n<body " + ns + "\nsid='' />": "<body " + ns + " />",
		"<body xsid='sid' sid='sid' sidx='sid' " + ns + "/>": "<body xsid='sid' sidx='sid' " + ns + "/>",
		"<body " + ns + "/>":                                 "<body " + ns + "/>",
	} {
		id := r.post(poll("s1", 2))
		e.next().answer(200, reply)
		r.want(id, 200, want)
		id = r.post(create(""))
		e.next().answer(200, reply)
		r.want(id, 200, strings.TrimPrefix(reply, "<?xml version='1.0'?>\n"))
	}
}
