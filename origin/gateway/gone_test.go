package gateway

import (
	"fmt"
	"testing"
)

// TestGone: the gateway closes the socket at the endpoint, as the client closed its own.
func TestGone(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	first, second := r.post(poll("s1", 1)), r.post(poll("s2", 1))
	a, b := e.next(), e.next()
	if a.body != poll("s1", 1) {
		a, b = b, a
	}
	r.control(fmt.Sprintf("gone %016x\n", first))
	a.wantClosed()
	r.until("its socket is free", func(s Stats) bool { return s.Sockets == 1 && s.Aborted == 1 })
	b.wantOpen()
	b.answer(200, text("hi"))
	r.want(second, 200, text("hi"))
	r.quiet()
	if s := r.stats(); s.Gone != 1 || s.Downs != 0 || s.Unwanted != 1 || s.Idle != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRelease: the client gets 503, so that it sends the same request again. The endpoint keeps the first request until
// the repeated one arrives. The first one's reply is dropped, because the endpoint gives it to the repeated request.
func TestRelease(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	first := r.post(poll("s1", 1))
	a := e.next()
	r.control(fmt.Sprintf("release %016x\n", first))
	r.want(first, 503, "")
	a.wantOpen()
	again := r.post(poll("s1", 1))
	b := e.next()
	a.answer(200, "<body type='error' "+ns+"/>")
	b.answer(200, text("hi"))
	r.want(again, 200, text("hi"))
	r.quiet()
	r.until("both sockets are idle", func(s Stats) bool { return s.Idle == 2 })
	r.s.Do(func() {
		if len(r.g.orphans) != 0 || len(r.g.calls) != 1 {
			t.Errorf("%d orphans, calls of %d links", len(r.g.orphans), len(r.g.calls))
		}
	})
	if s := r.stats(); s.Released != 1 || s.Unwanted != 1 || s.UnderWay != 0 || s.Aborted != 0 {
		t.Errorf("%+v", s)
	}
}

func TestReleaseAll(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	other := r.dial(t)
	theirs := other.post(poll("s9", 1))
	b := e.next()
	want := map[uint64]bool{r.post(poll("s1", 1)): true, r.post(poll("s2", 1)): true, r.post(poll("s3", 1)): true}
	held := []*asked{e.next(), e.next(), e.next()}
	r.control("release all\n")
	for range 3 {
		if got := r.reply(); got.status != 503 || !want[got.id] {
			t.Fatalf("%+v", got)
		}
	}
	for _, a := range held {
		a.wantOpen()
	}
	b.answer(200, text("hi"))
	other.want(theirs, 200, text("hi"))
	r.until("they are still in progress", func(s Stats) bool { return s.UnderWay == 3 && s.Released == 3 })
}

// TestLinkClosed: only the requests of the closed link are aborted.
func TestLinkClosed(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	other := r.dial(t)
	for i := range 3 {
		other.post(poll("s1", i))
	}
	lost := []*asked{e.next(), e.next(), e.next()}
	id := r.post(poll("s2", 1))
	mine := e.next()
	other.conn.Close()
	for _, a := range lost {
		a.wantClosed()
	}
	r.until("their sockets are free", func(s Stats) bool { return s.Sockets == 1 && s.Aborted == 3 && s.UnderWay == 1 })
	mine.answer(200, text("hi"))
	r.want(id, 200, text("hi"))
}

// TestGoneAtAnyTime crosses requests, replies and abortions, and compares the counters.
func TestGoneAtAnyTime(t *testing.T) {
	const n = 600
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	stop := make(chan struct{})
	answering := make(chan struct{})
	go func() {
		defer close(answering)
		for {
			select {
			case a := <-e.posts:
				a.conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n<body " + ns + "/>"))
				a.done <- true
			case <-stop:
				return
			}
		}
	}()
	for i := range n {
		id := r.post(poll("s1", i))
		if i%3 == 0 {
			r.control(fmt.Sprintf("gone %016x\n", id))
		}
		if i%50 == 0 {
			r.until("some", func(s Stats) bool { return s.UnderWay < 20 })
		}
	}
	r.until("all have ended", func(s Stats) bool { return s.Requests == n && s.UnderWay == 0 })
	s := r.stats()
	if s.Requests != n || s.Answered+s.Aborted != n || s.Bytes != 0 || s.Sockets != s.Idle || s.Downs != 0 {
		t.Errorf("%+v", s)
	}
	for range n - int(s.Gone) {
		if got := r.reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	r.quiet()
	close(stop)
	<-answering
}
