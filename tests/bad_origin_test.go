package tests

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// TestAttackByAnOrigin: whatever an origin does, its links end with a reason and are dialled again, its clients
// are told to try again, memory stays bounded, and the other origin's clients notice nothing.
func TestAttackByAnOrigin(t *testing.T) {
	// The seed of the noise is fixed: a test that fails can be run again.
	noise := rand.New(rand.NewPCG(0x6d656761, 0x70686f6e65))
	garbage := make([]byte, 4<<20)
	for i := range garbage {
		garbage[i] = byte(noise.Uint32())
	}
	drain := func(l *scriptedLink) { _, _ = io.Copy(io.Discard, l) }
	for _, c := range []struct {
		name  string
		serve func(l *scriptedLink)
		ended string // the counter of links that were given up
		also  string // a counter that says more
	}{
		{"stops reading", func(l *scriptedLink) { <-l.over }, "ping_timeouts", "link_full"},
		{"is silent", drain, "ping_timeouts", ""},
		{"says garbage", func(l *scriptedLink) { l.write(garbage); drain(l) }, "link_errors", ""},
		{"announces the largest frame and sends a part of it", func(l *scriptedLink) {
			l.write(append(frame.AppendHeader(nil, 1, frame.MaxContentsBytes), garbage...))
			drain(l)
		}, "ping_timeouts", ""},
		{"replies to what nobody asked", func(l *scriptedLink) {
			l.write(bytes.Repeat(frame.AppendReply(nil, 0x0000000700000001, 200, []byte("<body/>")), 100_000))
			l.write([]byte("99999999|0000000000000000|"))
			drain(l)
		}, "link_errors", "stale_replies"},
		{"replies twice", func(l *scriptedLink) {
			for range 5 {
				id, ok := l.request()
				if !ok {
					return
				}
				one := frame.AppendReply(nil, id, 503, nil)
				l.write(append(one, one...))
			}
			l.write(frame.Append(nil, 1, []byte("999 <body/>")))
			drain(l)
		}, "link_errors", "stale_replies"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for timeouts most of the time
			// A request comes in one piece, so that none of them needs a part of attackBuffered. Together they exceed
			// attackHighWater and the kernel's buffers of two links that are not read.
			const clients, bodyBytes = 640, 32 << 10
			a := underAttack(t, newScripted(t, "bad", c.serve).addr)
			s := newSwarm(t, a.Addr, clients, 0)
			text := pollBad(strings.Repeat("x", bodyBytes))
			s.each(func(i int, conn *net.TCPConn) {
				_ = conn.SetDeadline(time.Now().Add(rig.Patience))
				_, _ = io.WriteString(conn, text)
			})
			a.Until("links given up", func(n map[string]int) bool {
				return n[c.ended] >= attackReactors && n["links_up"] >= 3*attackReactors &&
					(c.also == "" || n[c.also] > 0)
			})
			s.each(func(i int, conn *net.TCPConn) {
				r, err := http.ReadResponse((&member{conn: conn}).reader(), nil)
				if err != nil || r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
					t.Errorf("client %d: %v, %v", i, r, err)
				}
			})
			s.close()
			a.survived(clients, clients*bodyBytes, linkBound)
		})
	}
}
