package main

import (
	"bytes"
	"context"
	"fmt"

	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/edge"
	"megaphone/loop"
	"megaphone/origin/bosh"
	"megaphone/origin/chat"
	"megaphone/origin/link"
	"megaphone/stats"
)

// serve is the main of a server process: it prints its address and serves until it is killed.
func serve(role, at string) error {
	switch role {
	case "bare":
		return serveBare()
	case "echo":
		return serveOrigin(echoOrigin{})
	case "embedded":
		sessions := bosh.New(bosh.Config{}.WithDefaults(), chat.New(chat.Config{CrowdUsers: -1}))
		return serveOrigin(sessions)
	case "edge":
		cfg, err := config.Config{Listen: "127.0.0.1:0", MaxConnections: 16_000,
			Origins: []config.Origin{{Name: "o", Address: at}}}.Values()
		if err != nil {
			return err
		}
		e, err := edge.Start(cfg, edge.Options{})
		if err != nil {
			return err
		}
		n, _ := e.Reactors()
		for e.Counter(stats.LinksUp) < uint64(n) {
			select {
			case err := <-e.Failed():
				return err
			default:
			}
		}
		fmt.Println(e.Addr())
		return <-e.Failed()
	}
	return fmt.Errorf("no such role: %s", role)
}

// bare answers whatever it reads with one small response and looks at nothing: the cost of the loop and the kernel.
type bare struct{ r *loop.Reactor }

var bareResponse = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 54\r\n\r\n" +
	"<body xmlns='http://jabber.org/protocol/httpbind'/>   ")

func (b bare) Open(uint32) {}
func (b bare) Data(c uint32, p []byte) (int, int) {
	if !bytes.HasSuffix(p, []byte("</body>")) {
		return 0, 0
	}
	b.r.Write(c, bareResponse, nil)
	return len(p), 0
}
func (b bare) Progress(uint32)           {}
func (b bare) Flushed(uint32)            {}
func (b bare) Expired(uint32)            {}
func (b bare) Client(c uint32) [16]byte  { return b.r.Conn(c).Peer }
func (b bare) Shed(uint32)               {}
func (b bare) Closed(uint32, loop.Cause) {}
func (b bare) Tick()                     {}
func (b bare) Stop()                     {}

func serveBare() error {
	g, err := loop.Start(loop.Config{Listen: []loop.Listener{{Address: "127.0.0.1:0"}}, MaxConnections: 16_000},
		func(r *loop.Reactor) (loop.Handler, loop.LinkHandler, error) { return bare{r}, nil, nil })
	if err != nil {
		return err
	}
	fmt.Println(g.Addrs()[0])
	return <-g.Failed()
}

func serveOrigin(h link.Handler) error {
	s, err := link.Listen(link.Config{Listen: "127.0.0.1:0"}, h)
	if err != nil {
		return err
	}
	fmt.Println(s.Addr())
	return s.Run(context.Background())
}

// echoOrigin answers every request with its own body, and session creations not at all: what they would be held for is
// what heldBytes wants.
type echoOrigin struct{}

func (echoOrigin) Request(l link.Replier, id uint64, r frame.Request) {
	if !bytes.Contains(r.Body, []byte("hold='1'")) {
		l.Reply(id, 200, r.Body)
	}
}
func (echoOrigin) Gone(link.Replier, uint64)    {}
func (echoOrigin) Release(link.Replier, uint64) {}
func (echoOrigin) ReleaseAll(link.Replier)      {}
func (echoOrigin) Passed(link.Replier)          {}
func (echoOrigin) Room(link.Replier)            {}
func (echoOrigin) Closed(link.Replier)          {}
func (echoOrigin) Tick(int64)                   {}
func (echoOrigin) Idle()                        {}
