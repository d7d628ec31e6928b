package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path,
		textXML, len(body), body)
}

// askOnce asks once over a connection of its own.
func askOnce(addr, path string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
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

// hold opens n connections to the server and sends a request on each. It returns when the origin has all of them.
// They are opened at the server's pace.
func (r *running) hold(ctx context.Context, k *kind, b *back, n int) (*holders, error) {
	h := &holders{}
	request := []byte(post(k.path, strings.Replace(shortBody, " xmlns=", " "+holdMark+" xmlns=", 1)))
	for began := time.Now(); len(h.conns) < n; {
		time.Sleep(time.Until(began.Add(time.Duration(len(h.conns)) * time.Second / time.Duration(k.pace))))
		c, err := net.DialTimeout("tcp", r.addr, 10*time.Second)
		if err != nil {
			h.close()
			return nil, fmt.Errorf("held connection %d: %w", len(h.conns)+1, err)
		}
		h.conns = append(h.conns, c)
		if _, err := c.Write(request); err != nil {
			h.close()
			return nil, fmt.Errorf("held connection %d: %w", len(h.conns), err)
		}
	}
	have := 0
	for end := time.Now().Add(holdTime); !k.alone && time.Now().Before(end) && ctx.Err() == nil; {
		var err error
		if have, err = b.size(); err != nil {
			h.close()
			return nil, err
		}
		if have >= n {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !k.alone && have < n {
		h.close()
		_ = b.release()
		return nil, fmt.Errorf("of %d requests %d are held after %s", n, have, holdTime)
	}
	time.Sleep(settleTime)
	return h, nil
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
