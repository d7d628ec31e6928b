package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// originRole is the argument with which this program is the origin.
const originRole = "origin"

// What a body says to the origin. All else is echoed.
const (
	holdMark    = "hold='1'"
	releaseMark = "release='1'"
)

const textXML = "text/xml; charset=utf-8"

// held is what the origin keeps of the requests that it holds: a function for each that answers it.
type held struct {
	mu   sync.Mutex
	list map[any]func()
}

func (h *held) add(key any, answer func()) {
	h.mu.Lock()
	h.list[key] = answer
	h.mu.Unlock()
}

func (h *held) remove(key any) {
	h.mu.Lock()
	delete(h.list, key)
	h.mu.Unlock()
}

func (h *held) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.list)
}

func (h *held) release() {
	h.mu.Lock()
	list := h.list
	h.list = map[any]func(){}
	h.mu.Unlock()
	for _, answer := range list {
		answer()
	}
}

// serveOrigin prints where HTTP and where links are taken, and serves until it is killed.
func serveOrigin() error {
	h := &held{list: map[any]func(){}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	links, err := link.Listen(link.Config{Listen: "127.0.0.1:0"}, &linkHandler{held: h})
	if err != nil {
		return err
	}
	web := fasthttp.Server{
		Handler: func(c *fasthttp.RequestCtx) { answerHTTP(c, h, links) }, Concurrency: 1 << 20,
		NoDefaultServerHeader: true, NoDefaultDate: true,
	}
	fmt.Println(l.Addr(), links.Addr())
	ended := make(chan error, 2)
	go func() { ended <- web.Serve(l) }()
	go func() { ended <- links.Run(context.Background()) }()
	return <-ended
}

// answerHTTP is the handler of requests by HTTP. GET says how many requests are held.
func answerHTTP(c *fasthttp.RequestCtx, h *held, links *link.Server) {
	body := c.PostBody()
	c.SetContentType(textXML)
	switch {
	case c.IsGet():
		fmt.Fprint(c, h.size())
	case bytes.Contains(body, []byte(releaseMark)):
		links.Do(h.release)
	case bytes.Contains(body, []byte(holdMark)) && len(c.Request.Header.Peek("Grip-Feature")) > 0 &&
		bytes.HasPrefix(c.Path(), []byte(gripPath)):
		// Pushpin holds it without us: GRIP's way.
		c.Response.Header.Set("Grip-Hold", "response")
		c.Response.Header.Set("Grip-Channel", "held")
		c.Response.Header.Set("Grip-Timeout", "3600")
	case bytes.Contains(body, []byte(holdMark)):
		released := make(chan struct{})
		h.add(c, func() { close(released) })
		<-released
		c.SetBody(body)
	default:
		c.SetBody(body)
	}
}

// linkHandler is that of requests by links, which does the same.
type linkHandler struct{ held *held }

type linkKey struct {
	l  link.Replier
	id uint64
}

func (o *linkHandler) Request(l link.Replier, id uint64, r frame.Request) {
	if !bytes.Contains(r.Body, []byte(holdMark)) {
		l.Reply(id, 200, r.Body)
		return
	}
	kept := bytes.Clone(r.Body)
	o.held.add(linkKey{l, id}, func() { l.Reply(id, 200, kept) })
}

func (o *linkHandler) Gone(l link.Replier, id uint64) { o.held.remove(linkKey{l, id}) }
func (o *linkHandler) Release(link.Replier, uint64)   {}
func (o *linkHandler) ReleaseAll(link.Replier)        {}
func (o *linkHandler) Passed(link.Replier)            {}
func (o *linkHandler) Room(link.Replier)              {}
func (o *linkHandler) Closed(gone link.Replier) {
	o.held.mu.Lock()
	defer o.held.mu.Unlock()
	for k := range o.held.list {
		if k, ok := k.(linkKey); ok && k.l == gone {
			delete(o.held.list, k)
		}
	}
}
func (o *linkHandler) Tick(int64) {}
func (o *linkHandler) Idle()      {}

// back is the origin, seen by those who start it.
type back struct {
	cmd         *exec.Cmd
	http, links string
}

func startOrigin(log string) (*back, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := &back{cmd: exec.Command(os.Args[0], originRole)}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.Stderr = f
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(out, &b.http, &b.links); err != nil {
		b.stop()
		return nil, fmt.Errorf("the origin does not start: %w", err)
	}
	return b, nil
}

func (b *back) stop() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// size asks how many requests are held.
func (b *back) size() (n int, err error) {
	_, text, err := fasthttp.GetTimeout(nil, "http://"+b.http+"/", 10*time.Second)
	if err == nil {
		_, err = fmt.Sscan(string(text), &n)
	}
	return n, err
}

// release has the origin answer all that it holds.
func (b *back) release() error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI("http://" + b.http + "/")
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetBodyString("<body " + releaseMark + "/>")
	return fasthttp.DoTimeout(req, resp, 30*time.Second)
}
