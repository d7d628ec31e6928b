package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// libraryRole is the argument with which this program is the chat on a library.
const libraryRole = "serve-library"

// pingInterval is that of the edge and of ejabberd.
const pingInterval = time.Minute

// chat is a chat without accounts, the least that lets sessions log in and send messages to each other.
type chat struct {
	mu      sync.RWMutex
	n       int
	clients map[string]*websocket.Conn // by address
}

// serveLibrary serves until it is killed.
func serveLibrary() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := &chat{clients: map[string]*websocket.Conn{}}
	go c.ping()
	fmt.Printf("library listening on %s\n", l.Addr())
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

// ping pings all clients in the course of each interval.
func (c *chat) ping() {
	for range time.Tick(pingInterval) {
		c.mu.RLock()
		list := make([]*websocket.Conn, 0, len(c.clients))
		for _, conn := range c.clients {
			list = append(list, conn)
		}
		c.mu.RUnlock()
		for _, conn := range list {
			ctx, cancel := context.WithTimeout(context.Background(), pingInterval)
			if conn.Ping(ctx) != nil {
				_ = conn.CloseNow()
			}
			cancel()
		}
	}
}

func (c *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xmpp"}})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = conn.CloseNow() }()
	s := &member{chat: c, conn: conn}
	defer s.leave()
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil || !s.take(text) {
			return
		}
	}
}

// member is a client of the chat.
type member struct {
	chat  *chat
	conn  *websocket.Conn
	jid   string
	opens int
}

func (s *member) leave() {
	s.chat.mu.Lock()
	defer s.chat.mu.Unlock()
	delete(s.chat.clients, s.jid)
}

func (s *member) say(text string) bool {
	return s.conn.Write(context.Background(), websocket.MessageText, []byte(text)) == nil
}

// take acts on an element. It returns false if the client has left.
func (s *member) take(text []byte) bool {
	switch name, _, _ := bytes.Cut(text, []byte(" ")); string(name) {
	case "<open":
		s.opens++
		features := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>ANONYMOUS</mechanism></mechanisms>"
		if s.opens > 1 {
			features = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
		}
		return s.say("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='1' from='localhost' version='1.0'/>") &&
			s.say("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"+features+"</stream:features>")
	case "<auth":
		return s.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	case "<iq":
		return s.bind()
	case "<message":
		_, to, _ := bytes.Cut(text, []byte(" to='"))
		to, _, _ = bytes.Cut(to, []byte("'"))
		s.chat.mu.RLock()
		other := s.chat.clients[string(to)]
		s.chat.mu.RUnlock()
		if other != nil {
			_ = other.Write(context.Background(), websocket.MessageText, text) // its own reader sees the error
		}
		return true
	case "<close":
		s.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
		_ = s.conn.Close(websocket.StatusNormalClosure, "")
		return false
	}
	return true
}

// bind gives the client its address.
func (s *member) bind() bool {
	s.chat.mu.Lock()
	s.chat.n++
	s.jid = fmt.Sprintf("u%d@localhost/r", s.chat.n)
	s.chat.clients[s.jid] = s.conn
	s.chat.mu.Unlock()
	return s.say("<iq xmlns='jabber:client' type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" +
		"<jid>" + s.jid + "</jid></bind></iq>")
}
