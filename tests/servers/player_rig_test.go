package servers

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"megaphone/tests/rig"
)

// outcome is the answer to one "<" of a dialogue, with its random parts named.
type outcome struct {
	where       string
	status      string
	reason      string
	contentType string
	connection  string // close: the server ends the connection with this answer
	body        string
}

// player plays dialogues against an endpoint.
type player struct {
	at       endpoint
	server   string
	says     speaker
	names    normaliser
	conns    map[string]*wire
	outcomes []outcome
}

// wire is a connection, and whether an answer is due on it.
type wire struct {
	net.Conn
	r   *bufio.Reader
	due bool
}

// play gives the outcomes, one for each "<" and "gather". The dialogue has a resource of its own, so that many can be
// played at the same time.
func play(server string, at endpoint, user, name string, dialogue []step) ([]outcome, error) {
	p := &player{
		at: at, server: server, says: speaker{words: words(at.path, user, name), rid: 999}, conns: map[string]*wire{},
		names: normaliser{map[string]string{user: "{user}"}},
	}
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	for _, s := range dialogue {
		if err := p.do(s); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.where, at.name, err)
		}
	}
	return p.outcomes, nil
}

func (p *player) do(s step) error {
	switch s.verb {
	case ">":
		return p.post(s.conn, s.rest)
	case "raw":
		quoted, err := strconv.QuotedPrefix(s.rest)
		if err != nil {
			return err
		}
		head, err := strconv.Unquote(quoted)
		if err != nil {
			return err
		}
		body := p.says.say(strings.TrimPrefix(s.rest[len(quoted):], " "))
		return p.send(s.conn, strings.ReplaceAll(p.says.say(head), "$length", strconv.Itoa(len(body)))+body)
	case "<", "roughly":
		o, err := p.receive(s.conn)
		return p.note(s, o, err)
	case "gather":
		o, err := p.gather(s)
		return p.note(s, o, err)
	case "silent":
		return p.silent(s)
	case "close":
		c := p.conns[s.conn]
		if c == nil {
			return errors.New("no such connection")
		}
		delete(p.conns, s.conn)
		return c.Close()
	case "after":
		d, err := time.ParseDuration(s.rest)
		if err != nil {
			return err
		}
		<-time.After(d) // what passes here is what the dialogue is about
		return nil
	}
	return fmt.Errorf("there is no step %q", s.verb)
}

// note keeps what a step got.
func (p *player) note(s step, o outcome, err error) error {
	if err != nil {
		return err
	}
	o.where = s.where
	// The headers of a proxy in front of a server may differ if that is wanted; see difference.
	if s.verb == "roughly" || s.verb == "<" && !p.at.edge {
		if status, text := s.expected(p.server); o.status != status || !strings.Contains(o.body, text) {
			return fmt.Errorf("%s %q, not %s with %q", o.status, o.body, status, text)
		}
	}
	if s.verb == "roughly" {
		o.body = "{roughly}"
	}
	p.outcomes = append(p.outcomes, o)
	return nil
}

func (p *player) post(name, body string) error {
	body = p.says.say(body)
	return p.send(name, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml; charset=utf-8\r\n"+
		"Content-Length: %d\r\n\r\n%s", p.at.path, len(body), body))
}

// send writes to a connection that is new or on which no answer is due: ejabberd's server takes no pipelined requests.
func (p *player) send(name, text string) error {
	c := p.conns[name]
	if c == nil {
		conn, err := net.DialTimeout("tcp", p.at.addr, rig.Patience)
		if err != nil {
			return err
		}
		c = &wire{Conn: conn, r: bufio.NewReader(conn)}
		p.conns[name] = c
	}
	if c.due {
		return errors.New("an answer is due on this connection")
	}
	c.due = true
	_ = c.SetDeadline(time.Now().Add(rig.Patience))
	_, _ = io.WriteString(c, text) // a server may answer, and close, before it has read all; the answer tells
	return nil
}

func (p *player) receive(name string) (o outcome, err error) {
	c := p.conns[name]
	if c == nil || !c.due {
		return o, errors.New("no answer is due on this connection")
	}
	c.due = false
	_ = c.SetDeadline(time.Now().Add(rig.Patience))
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return o, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return o, err
	}
	p.says.hear(string(body))
	o = outcome{status: strconv.Itoa(r.StatusCode), reason: strings.TrimSpace(r.Status[3:]),
		contentType: r.Header.Get("Content-Type"), connection: "keep-alive", body: p.names.normalise(string(body))}
	if r.Close {
		o.connection = "close"
		delete(p.conns, name)
		return o, c.Close()
	}
	return o, nil
}

// gather collects n elements from any number of answers: a server may send ready ones at once, or wait.
func (p *player) gather(s step) (o outcome, err error) {
	n, err := strconv.Atoi(s.rest)
	if err != nil {
		return o, err
	}
	all := ""
	for {
		if o, err = p.receive(s.conn); err != nil {
			return o, err
		}
		inner, count, err := children(o.body)
		if err != nil {
			return o, fmt.Errorf("%w in %s", err, o.body)
		}
		all += inner
		if n -= count; n <= 0 {
			o.body = all
			return o, nil
		}
		if err := p.post(s.conn, "<body rid='$rid' sid='$sid' $ns/>"); err != nil {
			return o, err
		}
	}
}

// children is what a <body> contains, and how many elements that are.
func children(body string) (inner string, count int, err error) {
	var wrapper struct {
		Inner    string     `xml:",innerxml"`
		Children []struct{} `xml:",any"`
	}
	err = xml.Unmarshal([]byte(body), &wrapper)
	return wrapper.Inner, len(wrapper.Children), err
}

// silent demands that no answer comes for a while.
func (p *player) silent(s step) error {
	c := p.conns[s.conn]
	if c == nil || !c.due {
		return errors.New("no answer is due on this connection")
	}
	d, err := time.ParseDuration(s.rest)
	if err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(d))
	if _, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("it should be silent: %v", err)
	}
	return nil
}
