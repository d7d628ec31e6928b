package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAllSocketsInUse: a request gets 503 at once unless a socket is free.
func TestAllSocketsInUse(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, func(c *Config) { c.MaxSockets = 2 }, e)
	first := r.post(poll("s1", 1))
	a := e.next()
	second := r.post(poll("s2", 1))
	b := e.next()
	r.want(r.post(poll("s3", 1)), 503, "")
	r.want(r.post(create("")), 503, "")
	if s := r.stats(); s.NoSocket != 2 || s.Sockets != 2 {
		t.Errorf("%+v", s)
	}
	r.control(fmt.Sprintf("gone %016x\n", first))
	a.wantClosed()
	r.until("a socket is free", func(s Stats) bool { return s.Sockets == 1 })
	third := r.post(poll("s3", 1))
	e.next().answer(200, text("third"))
	r.want(third, 200, text("third"))
	fourth := r.post(create("")) // the idle socket makes room for a fresh one
	e.next().answer(200, text("fourth"))
	r.want(fourth, 200, text("fourth"))
	b.answer(200, text("second"))
	r.want(second, 200, text("second"))
	if s := r.stats(); s.NoSocket != 2 || s.Sockets != 2 {
		t.Errorf("%+v", s)
	}
}

// TestIdleSocketsMakeRoom: an idle socket also makes room for one to another endpoint.
func TestIdleSocketsMakeRoom(t *testing.T) {
	clean(t)
	a, b := newEndpoint(t), newEndpoint(t)
	r := newRig(t, func(c *Config) { c.MaxSockets = 1 }, a, b)
	seen := map[*endpointServer]bool{}
	for i := 0; len(seen) < 2; i++ {
		if i > 100 {
			t.Fatal("one of two endpoints gets nothing")
		}
		at, _ := created(r, "", a, b)
		seen[at] = true
	}
	if s := r.stats(); s.Sockets != 1 || s.NoSocket != 0 {
		t.Errorf("%+v", s)
	}
}

// TestIdleSocketsAreClosed: idle sockets are closed after IdleTimeout.
func TestIdleSocketsAreClosed(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	idleSocket(r, e)
	r.pass(defaultIdleTimeout - time.Second)
	if s := r.stats(); s.Idle != 1 {
		t.Errorf("%+v", s)
	}
	r.pass(2 * time.Second)
	r.until("it is closed", func(s Stats) bool { return s.Idle == 0 && s.Sockets == 0 })
	r.until("at the endpoint too", func(Stats) bool { return e.open() == 0 })
}

// TestTooManyBytes: the bytes of all requests in progress are bounded.
func TestTooManyBytes(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, func(c *Config) { c.MaxBufferedBytes = 64 << 10 }, e)
	large := "<body rid='1' sid='s1' " + ns + ">" + strings.Repeat("x", 40_000) + "</body>"
	id := r.post(large)
	a := e.next()
	r.want(r.post(large), 503, "")
	small := r.post(poll("s1", 2))
	e.next().answer(200, text("small"))
	r.want(small, 200, text("small"))
	a.answer(200, text("large"))
	r.want(id, 200, text("large"))
	id = r.post(large)
	e.next().answer(200, text("large"))
	r.want(id, 200, text("large"))
	if s := r.stats(); s.NoMemory != 1 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestConfig: an error names the key, the value and a remedy.
func TestConfig(t *testing.T) {
	const ok = "http://127.0.0.1:5280/http-bind"
	limit := descriptors()
	many := make([]string, maxEndpoints+1)
	for _, c := range []struct {
		cfg   Config
		wants string // comma-separated; empty: valid
	}{
		{Config{Endpoints: []string{ok}}, ""},
		{Config{Endpoints: []string{ok, "http://127.0.0.1:5281/http-bind"}}, ""},
		{Config{}, "bosh: none,http://127.0.0.1:5280/http-bind"},
		{Config{Endpoints: many}, "bosh: 61,at most 60"},
		{Config{Endpoints: []string{""}}, "bosh: ,give a URL"},
		{Config{Endpoints: []string{"127.0.0.1:5280"}}, "bosh: 127.0.0.1:5280,http://"},
		{Config{Endpoints: []string{"http:///x"}}, "bosh: http:///x,give a URL"},
		{Config{Endpoints: []string{"https://h/x"}}, ""},
		{Config{Endpoints: []string{"ftp://h/x"}}, "bosh: ftp://h/x,only http and https"},
		{Config{Endpoints: []string{"http://u:p@h/x"}}, "bosh: http://u,without user"},
		{Config{Endpoints: []string{"http://h/x#y"}}, "bosh: http://h/x#y,fragment"},
		{Config{Endpoints: []string{"http://h\r\nx: y/"}}, "give a URL"},
		{Config{Endpoints: []string{ok, ok}}, "bosh: " + ok + ",is listed already"},
		{Config{Endpoints: []string{ok}, MaxSockets: limit - ReservedDescriptors}, ""},
		{Config{Endpoints: []string{ok}, MaxSockets: limit}, fmt.Sprintf(
			"max-sockets: %d,RLIMIT_NOFILE is %d,less 320,use 1 to %d,ulimit -n", limit, limit, limit-320)},
		{Config{Endpoints: []string{ok}, MaxSockets: -1}, "max-sockets: -1,use 1 to"},
		{Config{Endpoints: []string{ok}, MaxReplyBytes: 10}, "max-reply-bytes: 10,use 1024 to 16777216"},
		{Config{Endpoints: []string{ok}, MaxHeadBytes: 10}, "max-reply-head-bytes: 10,use 8192 to 1048576"},
		{Config{Endpoints: []string{ok}, MaxBufferedBytes: 10}, "max-buffered-bytes: 10,use 65536"},
		{Config{Endpoints: []string{ok}, Grace: -time.Second}, "grace: -1s,use 1s to 24h"},
		{Config{Endpoints: []string{ok}, ResponseTimeout: 25 * time.Hour}, "response-timeout: 25h,use 1s to 24h"},
	} {
		_, err := New(c.cfg)
		if (err == nil) != (c.wants == "") {
			t.Errorf("%q: %v", c.cfg.Endpoints, err)
			continue
		}
		for part := range strings.SplitSeq(c.wants, ",") {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("no %q in %v", part, err)
			}
		}
	}
}
