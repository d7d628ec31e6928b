package gateway

import "testing"

// idleSocket makes one request, which leaves the gateway with one idle socket.
func idleSocket(r *rig, e *endpointServer) {
	id := r.post(poll("s1", 1))
	e.next().answer(200, text("first"))
	r.want(id, 200, text("first"))
	r.until("one idle socket", func(s Stats) bool { return s.Idle == 1 && s.Sockets == 1 })
}

// TestStaleSocket: the endpoint has closed an idle socket.
func TestStaleSocket(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	idleSocket(r, e)
	e.cut()
	id := r.post(poll("s1", 2))
	e.next().answer(200, text("second"))
	r.want(id, 200, text("second"))
	if s := r.stats(); s.Resent != 1 || s.Broken != 0 || s.Unreachable != 0 || s.Sockets != 1 {
		t.Errorf("%+v", s)
	}
}

// TestUnaskedReply: web servers send 408 on an idle socket before they close it. It is no reply to the next request.
func TestUnaskedReply(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	id := r.post(poll("s1", 1))
	a := e.next()
	a.answer(200, text("first"))
	r.want(id, 200, text("first"))
	a.conn.Write([]byte("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"))
	id = r.post(poll("s1", 2))
	e.next().answer(200, text("second"))
	r.want(id, 200, text("second"))
}

// TestSocketClosedUnderTheRequest: the endpoint closes an idle socket while a request is in flight on it. A request of
// a session is sent again, once.
func TestSocketClosedUnderTheRequest(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	idleSocket(r, e)
	id := r.post(poll("s1", 2))
	e.next().hangUp("")
	again := e.next()
	if again.body != poll("s1", 2) {
		t.Fatalf("%q", again.body)
	}
	again.answer(200, text("second"))
	r.want(id, 200, text("second"))

	id = r.post(poll("s1", 3))
	e.next().hangUp("")
	e.next().hangUp("") // a fresh socket: no accident
	r.want(id, 503, "")
	if s := r.stats(); s.Resent != 2 || s.Broken != 1 || s.Sockets != 0 {
		t.Errorf("%+v", s)
	}
}

// TestCreationIsSentOnce: a session creation uses a socket that cannot be stale, and is never sent twice.
func TestCreationIsSentOnce(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	idleSocket(r, e)
	for _, body := range []string{create("ver='1.6'"), "<body rid='1' sid='s1' " + ns, "<body/>"} {
		id := r.post(body)
		e.next().hangUp("")
		r.want(id, 503, "") // a repeated request would wait for an answer here
	}
	id := r.post(create("ver='1.6'"))
	e.next().answer(200, "<body sid='s2' "+ns+"/>")
	r.want(id, 200, "<body sid='s2' "+ns+"/>")
	if s := r.stats(); s.Resent != 0 || s.Idle != 2 {
		t.Errorf("%+v", s)
	}
}

// TestTimeoutUnderTheRequest: the server sends 408 on an idle socket while a request is in flight on it. The 408 does
// not answer that request, which goes over another socket. There a 408 is the answer.
func TestTimeoutUnderTheRequest(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	idleSocket(r, e)
	for _, unasked := range []string{
		"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"HTTP/1.0 408 Request Time-out\r\nCache-Control: no-cache\r\n\r\n<html>No request came.</html>",
	} {
		id := r.post(poll("s1", 2))
		e.next().hangUp(unasked)
		e.next().answer(200, text("second"))
		r.want(id, 200, text("second"))
	}
	if s := r.stats(); s.Resent != 2 || s.Broken != 0 || s.NotBOSH != 0 {
		t.Errorf("%+v", s)
	}
	id := r.post(poll("s1", 3))
	e.next().answer(408, "")
	e.next().answer(408, "") // a fresh socket: the 408 is the answer
	r.want(id, 503, "")
}
