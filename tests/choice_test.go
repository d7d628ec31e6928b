package tests

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// creator is an origin that does one thing with session creations, and holds all other requests for good.
func creator(t *testing.T, name string, answer func(n int64) string) (addr string, got *atomic.Int64) {
	got = new(atomic.Int64)
	return newScripted(t, name, func(l *scriptedLink) {
		for {
			f, ok := l.frame()
			if !ok {
				return
			}
			if f.ID == 0 {
				if token, ok := strings.CutPrefix(string(f.Contents), "ping "); ok {
					l.write(frame.Append(nil, 0, []byte("pong "+token)))
				}
				continue
			}
			r, err := frame.ParseRequest(f.Contents)
			var b boshbody.StartTag
			if err != nil || boshbody.Parse(&b, r.Body) != nil || b.SID != nil {
				continue
			}
			if body := answer(got.Add(1)); body != "" {
				l.write(frame.AppendReply(nil, f.ID, 200, []byte(body)))
			}
		}
	}).addr, got
}

// TestNewSessionsAvoidWhatFails: an origin that ends each session creation, or says nothing to it, gets at most 2 % of
// them beside one that is well, although it holds less.
func TestNewSessionsAvoidWhatFails(t *testing.T) {
	const clients = 500
	for name, answer := range map[string]func(n int64) string{
		"broken": func(int64) string { return string(boshbody.Terminal("internal-server-error")) },
		"stuck":  func(int64) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			good, served := creator(t, "good", func(n int64) string {
				return fmt.Sprintf("<body sid='g%d' wait='60' %s/>", n, rig.BOSHNS)
			})
			working := new(atomic.Bool)
			bad, failed := creator(t, "bad", func(n int64) string {
				if working.Load() {
					return fmt.Sprintf("<body sid='b%d' wait='60' %s/>", n, rig.BOSHNS)
				}
				return answer(n)
			})
			edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "good="+good+",bad="+bad,
				"--reactors", "2", "--max-connections", "2000", "--create-timeout", "6s").Linked(4)
			refused := new(atomic.Int64)
			var all sync.WaitGroup
			create := func() {
				c := rig.Connect(t, edge.Addr)
				c.Send(rig.PostText(rig.CreationText("example.org")))
				r := c.Get()
				_, sid, ok := strings.Cut(r.Text, "sid='")
				if !ok {
					refused.Add(1)
					c.Close()
					return
				}
				sid, _, _ = strings.Cut(sid, "'")
				c.Send(rig.PostText(fmt.Sprintf("<body sid='%s' rid='1001' %s/>", sid, rig.BOSHNS)))
			}
			for working.Store(true); served.Load() == 0; { // the edge is to know that the domain is served
				create()
			}
			working.Store(false)
			served.Store(0)
			failed.Store(0)
			for range clients {
				if name == "broken" {
					create() // one after the other, so that each finds the edge knowing of the last one
					continue
				}
				all.Go(create)
			}
			all.Wait()
			if n := failed.Load(); n > clients/50 || n > refused.Load() || served.Load()+n < clients {
				t.Errorf("it got %d of %d; %d were served, %d refused", n, clients, served.Load(), refused.Load())
			}
			edge.Line(0, `msg="origin ejected" origin=bad`)
			t.Logf("%s: %d of %d", name, failed.Load(), clients)
		})
	}
}
