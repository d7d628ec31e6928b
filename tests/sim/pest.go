//go:build sim

package sim

import (
	"fmt"
	"strings"
	"time"

	"megaphone/loop/sys"
)

// sendPests sends one now and then.
func (w *world) sendPests() {
	if w.quiet {
		return
	}
	w.k.After(w.k.Upto(2*w.pestEvery), w.sendPests)
	w.sendPest(w.sites[w.k.Rand.IntN(len(w.sites))])
}

// sendPest lets a client come that is no client: it sends a part of something, and stays, leaves or vanishes.
func (w *world) sendPest(to *site) {
	w.pests++
	w.result.Pests++
	r := w.k.Rand
	text := w.nonsense()
	if r.IntN(3) > 0 {
		text = text[:r.IntN(len(text)+1)]
	}
	reads := r.IntN(3) > 0
	var e *sys.Endpoint
	buf := make([]byte, 512)
	e = w.k.Dial(address(3, w.pests), to.at, func() {
		for len(text) > 0 {
			n, err := e.Write([]byte(text))
			if err != nil || n == 0 {
				break
			}
			text = text[n:]
		}
		for reads {
			if n, err := e.Read(buf); err != nil || n == 0 {
				break
			}
		}
	})
	w.k.After(w.k.Upto(20*time.Second), func() {
		switch r.IntN(4) {
		case 0:
			e.Reset()
		case 1:
			_ = e.CloseWrite()
			w.k.After(w.k.Upto(20*time.Second), e.Close)
		case 2:
			e.Cut()
			e.Close()
		default:
			e.Close()
		}
	})
}

func postOf(body string) string {
	return fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// nonsense returns requests of all kinds.
func (w *world) nonsense() string {
	r := w.k.Rand
	one := func() string {
		switch r.IntN(9) {
		case 0:
			return "GET /http-bind HTTP/1.1\r\nHost: a.test\r\n\r\n"
		case 1:
			return "GET /nothing HTTP/1.0\r\n\r\n"
		case 2:
			return "OPTIONS /http-bind HTTP/1.1\r\nHost: a.test\r\nOrigin: https://b.test\r\n\r\n"
		case 3:
			return postOf("<body rid='1' client='-1' sid='s9.9.9.none' " + xmlns + "/>")
		case 4:
			return postOf(fmt.Sprintf("<body rid='%d' client='-1' to='a.test' ver='1.6' wait='60' hold='1' %s/>",
				r.IntN(1e6), xmlns))
		case 5:
			const head = "POST /http-bind HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60000\r\n\r\n"
			return head + strings.Repeat("z", r.IntN(1+r.IntN(60000)))
		case 6:
			return "POST /http-bind HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("h", r.IntN(20000)) + "\r\n\r\n"
		case 7:
			b := make([]byte, 1+r.IntN(100))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return string(b)
		}
		return "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	}
	var b strings.Builder
	for range 1 + r.IntN(40)*r.IntN(2) {
		b.WriteString(one())
	}
	return b.String()
}
