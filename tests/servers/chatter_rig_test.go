package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// chatter is a user that never gives up: a request that fails is sent again, with the same rid, until it is answered.
type chatter struct {
	name, jid string
	addr      string
	session   *rig.Session
	conn      net.Conn
	r         *bufio.Reader
	failures  atomic.Int32 // requests that were not answered, or with 503
	got       atomic.Int32 // messages
	messages  []string
}

// logIn logs a user of localhost in.
func logIn(t testing.TB, at endpoint, name string) *chatter {
	t.Helper()
	c := rig.Connect(t, at.addr)
	defer c.Close()
	s := rig.Create(t, c)
	return &chatter{name: name, jid: s.LogIn(t, name, c), addr: at.addr, session: s}
}

// exchange sends a request and gives the body of its answer.
func (c *chatter) exchange(payload string) (string, error) {
	body, err := c.insist(c.session.Request(payload))
	if err == nil && strings.Contains(body, "type='terminate'") {
		err = fmt.Errorf("%s was told %s", c.name, body)
	}
	return body, err
}

// insist sends a request until it is answered.
func (c *chatter) insist(text string) (string, error) {
	late := time.Now().Add(rig.Patience)
	for {
		status, body, err := c.try(text, late)
		if err == nil && status == 200 {
			c.read(body)
			return body, nil
		}
		if err == nil && status != 503 {
			return "", fmt.Errorf("%s was told %d %s", c.name, status, body)
		}
		c.failures.Add(1)
		if time.Now().After(late) {
			return "", fmt.Errorf("%s is not served any more: %d, %w", c.name, status, err)
		}
		<-time.After(50 * time.Millisecond) // as a client that is eager, but does not spin
	}
}

func (c *chatter) try(text string, late time.Time) (status int, body string, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.addr, time.Second); err != nil {
			c.conn = nil
			return 0, "", err
		}
		c.r = bufio.NewReader(c.conn)
	}
	_ = c.conn.SetDeadline(late)
	if _, err = io.WriteString(c.conn, text); err == nil {
		var r *http.Response
		if r, err = http.ReadResponse(c.r, nil); err == nil {
			var all []byte
			all, err = io.ReadAll(r.Body)
			status, body = r.StatusCode, string(all)
			if r.Close {
				c.hangUp()
			}
			if status == 503 && r.Header.Get("Retry-After") == "" {
				return status, body, errors.New("no Retry-After")
			}
		}
	}
	if err != nil {
		c.hangUp()
	}
	return status, body, err
}

func (c *chatter) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

var messagePattern = regexp.MustCompile(`<body>([^<]*)</body>`)

func (c *chatter) read(body string) {
	for _, m := range messagePattern.FindAllStringSubmatch(body, -1) {
		c.messages = append(c.messages, m[1])
		c.got.Add(1)
	}
}

// chat sends n messages, one a request, and reads until n have come.
func (c *chatter) chat(to *chatter, n int) error {
	for i := range n {
		message := fmt.Sprintf("<message xmlns='jabber:client' type='chat' to='%s'><body>%d</body></message>",
			to.jid, i)
		if _, err := c.exchange(message + ping); err != nil {
			return err
		}
	}
	for len(c.messages) < n {
		if _, err := c.exchange(""); err != nil {
			return err
		}
	}
	// What answered an earlier ping comes before what answers the last one: then nothing is left to come.
	body, err := c.exchange(strings.Replace(ping, "id='ping'", "id='last'", 1))
	for err == nil && !strings.Contains(body, "id='last'") {
		body, err = c.exchange("")
	}
	return err
}

// check demands that the n messages have come, each once and in order.
func (c *chatter) check(t testing.TB, n int) {
	t.Helper()
	if len(c.messages) != n {
		t.Errorf("%s has %d messages, not %d", c.name, len(c.messages), n)
	}
	for i, text := range c.messages {
		if text != fmt.Sprint(i) {
			t.Errorf("%s: message %d is %q", c.name, i, text)
			return
		}
	}
}

// leave ends the session.
func (c *chatter) leave(t testing.TB) {
	t.Helper()
	defer c.hangUp()
	body, err := c.insist(c.session.End())
	if err != nil || !strings.Contains(body, "type='terminate'") {
		t.Errorf("%s leaves: %s, %v", c.name, body, err)
	}
}

// chatThrough lets two users exchange n messages each way and calls happen twice: when a quarter and when half of them
// have come. Nothing may be lost or doubled, and the sessions must continue.
func chatThrough(t *testing.T, a, b *chatter, n int, disturb func()) {
	t.Helper()
	var chatting sync.WaitGroup
	errs := make([]error, 2)
	chatting.Go(func() { errs[0] = a.chat(b, n) })
	chatting.Go(func() { errs[1] = b.chat(a, n) })
	over := make(chan struct{})
	go func() { chatting.Wait(); close(over) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, due := range []int{n / 4, n / 2} {
		for int(a.got.Load()) < due {
			select {
			case <-tick.C:
			case <-over:
				t.Fatalf("it is over too early: %v", errors.Join(errs...))
			}
		}
		disturb()
	}
	<-over
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*chatter{a, b} {
		c.check(t, n)
		if c.failures.Load() == 0 {
			t.Errorf("%s has not noticed anything", c.name)
		}
	}
	t.Logf("%d messages each way, %d and %d requests sent again", n, a.failures.Load(), b.failures.Load())
}
