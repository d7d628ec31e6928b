package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path,
		textXML, len(body), body)
}

// dial connects to the server, by TLS if it takes that.
func (r *running) dial(timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", r.addr, timeout)
	if err != nil || !r.tls {
		return c, err
	}
	secured := tls.Client(c, clientConfig(tls.VersionTLS13, nil))
	_ = c.SetDeadline(time.Now().Add(timeout))
	if err := secured.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	return secured, c.SetDeadline(time.Time{})
}

// askOnce asks once over a connection of its own.
func (r *running) askOnce(path string) error {
	c, err := r.dial(time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(post(path, shortBody))); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// holders are connections on which a request is held.
type holders struct{ conns []net.Conn }

// holdTime is how long it may take until all are held.
const holdTime = 90 * time.Second

// openers is how many connections are opened at a time, because a handshake has several steps.
const openers = 16

// open opens n connections at the server's pace, and sends a request on each. If one fails, none is left.
func (r *running) open(k *kind, n int) (*holders, error) {
	request := []byte(post(k.path, strings.Replace(shortBody, " xmlns=", " "+holdMark+" xmlns=", 1)))
	h := &holders{}
	var group sync.WaitGroup
	var mu sync.Mutex
	var fault error
	began, next := time.Now(), new(atomic.Int64)
	one := func(i int) bool {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(k.pace))))
		c, err := r.dial(10 * time.Second)
		if err == nil {
			_, err = c.Write(request)
		}
		mu.Lock()
		defer mu.Unlock()
		if c != nil {
			h.conns = append(h.conns, c)
		}
		if err != nil && fault == nil {
			fault = fmt.Errorf("held connection %d: %w", i+1, err)
		}
		return fault == nil
	}
	for range openers {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n && one(i-1); i = int(next.Add(1)) {
			}
		})
	}
	if group.Wait(); fault != nil {
		h.close()
		return nil, fault
	}
	return h, nil
}

// hold opens connections to the server, until h has n of them, with a request on each. It returns when the origin has
// all of them. If it fails, none is left.
func (r *running) hold(ctx context.Context, k *kind, b *back, h *holders, n int) error {
	more, err := r.open(k, n-len(h.conns))
	if err != nil {
		h.close()
		return err
	}
	h.conns = append(h.conns, more.conns...)
	have := 0
	for end := time.Now().Add(holdTime); !k.alone && time.Now().Before(end) && ctx.Err() == nil; {
		var err error
		if have, err = b.size(); err != nil {
			h.close()
			return err
		}
		if have >= n {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !k.alone && have < n {
		h.close()
		_ = b.release()
		return fmt.Errorf("of %d requests %d are held after %s", n, have, holdTime)
	}
	time.Sleep(settleTime)
	return nil
}

// settleTime is how long a server gets to come to rest before its memory is read.
const settleTime = 2 * time.Second

func (h *holders) close() {
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// answered counts the connections that got an answer or were closed: those are no longer held. what describes the last
// of them.
func (h *holders) answered() (n int, what string) {
	var head [64]byte
	for _, c := range h.conns {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Microsecond))
		if k, err := c.Read(head[:]); err == nil || !isTimeout(err) {
			n++
			what = fmt.Sprintf("%q, %v", head[:k], err)
		}
	}
	return n, what
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
