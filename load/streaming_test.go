package load

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/codec/ws"
)

func TestStreamsAreHeldAndLeave(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.ping = 300 * time.Millisecond
	r := runStreams(t, f, Config{Sessions: 50, Login: LoginPlain, Presence: true, Duration: 2 * time.Second}, nil)
	s, st := r.Sessions, r.Streams
	if r.Verdict.Status != StatusFine || s.Reached != 50 || s.Held != 50 || s.Ended != 50 || s.Lost+s.Failed != 0 {
		t.Fatalf("%+v, sessions %+v", r.Verdict, s)
	}
	if st.Opened != 50 || st.Most != 50 || st.Closes["1000"] != 50 || len(st.Closes) != 1 || st.Resumed != 0 {
		t.Errorf("WebSockets %+v", st)
	}
	if f.pongs < 50 || uint64(f.pongs) > st.Pings {
		t.Errorf("%d pings seen, %d answered", st.Pings, f.pongs)
	}
	if l := r.Latencies; l["creation"].Count != 50 || l["login"].Count != 50 || l["end"].Count != 50 ||
		l["acknowledgement"].Count != 50 {
		t.Errorf("latencies %+v", l)
	}
	if r.Options.Transport != WebSocket || r.Requests["connections"] != 50 {
		t.Errorf("%s, %v", r.Options.Transport, r.Requests)
	}
	if len(f.sessions) != 0 {
		t.Errorf("%d sessions left at the server", len(f.sessions))
	}
}

// TestStreamsOfEachScenario: with and without stream management, every message is accounted for.
func TestStreamsOfEachScenario(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		for _, login := range []Login{LoginPlain, LoginAnonymous} {
			t.Run(fmt.Sprintf("%s, without management %v", login, plain), func(t *testing.T) {
				t.Parallel()
				f := newStreamFake(t)
				f.plain = plain
				r := runStreams(t, f, Config{Sessions: 300, Login: login, Scenario: Chat, Messages: 400, Rate: 3000,
					Reactors: 2, Then: "broadcast=1m", Size: 1000, Settle: 20 * time.Second, Duration: 2 * time.Second},
					nil)
				chat, all := uint64(r.Latencies["delivery"].Count), uint64(r.Latencies["broadcast"].Count)
				if m := r.Messages; r.Verdict.Status != StatusFine || chat < 400 || all != 300 ||
					m.Delivered != chat+all || m.Sent != m.Delivered {
					t.Errorf("%+v, %+v: %d of the chat, %d of the broadcast", r.Verdict, m, chat, all)
				}
				if n := r.Latencies["acknowledgement"].Count; (n > 0) == plain {
					t.Errorf("%d acknowledgements", n)
				}
			})
		}
	}
}

// TestStreamsInPieces: the server's output comes in single bytes.
func TestStreamsInPieces(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.drip = true
	r := runStreams(t, f, Config{Sessions: 4, Login: LoginPlain, Scenario: Chat, Messages: 20}, nil)
	if m := r.Messages; r.Verdict.Status != StatusFine || m.Sent < 10 || m.Delivered != m.Sent {
		t.Errorf("%+v %+v %v", r.Verdict, m, r.Errors)
	}
}

func TestStreamsChurn(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	r := runStreams(t, f, Config{Sessions: 50, Login: LoginAnonymous, Scenario: Churn, Rate: 100,
		Duration: 2 * time.Second}, nil)
	s := r.Sessions
	if r.Verdict.Status != StatusFine || s.Started < 60 || s.Ended != s.Started || s.Held != 50 {
		t.Fatalf("%+v %+v", r.Verdict, s)
	}
}

// TestStreamsCountFaultsExactly: of a server that loses, doubles and swaps messages.
func TestStreamsCountFaultsExactly(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	k := &faults{back: map[string]string{}}
	f.relay = k.relay
	r := runStreams(t, f, Config{Sessions: 10, Login: LoginPlain, Scenario: Chat, Messages: 500, Reactors: 1,
		Duration: 2 * time.Second}, nil)
	lost := k.lost + uint64(len(k.back))
	if m := r.Messages; m.Lost != lost || m.Duplicated != k.duplicated || m.Reordered != k.swapped ||
		m.Sent != uint64(k.n) || k.lost == 0 || k.duplicated == 0 || k.swapped == 0 {
		t.Errorf("%+v, but of %d messages the server has lost %d, doubled %d, swapped %d", m, k.n, lost, k.duplicated,
			k.swapped)
	}
	if r.Verdict.Status != statusMessages {
		t.Errorf("%+v", r.Verdict)
	}
}

// TestStreamsResume: connections are cut before a message is handled, after it, and all at once. The sessions resume,
// and each message arrives once and in order.
func TestStreamsResume(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	n := 0
	f.script = func(_ *streamClient, element string) streamAct {
		if !strings.HasPrefix(element, "<message") {
			return actUsually
		}
		if n++; n > 30 { // a busy machine makes few more
			return actUsually
		}
		switch n % 6 {
		case 3:
			return actLose
		case 0:
			return actKeep
		}
		return actUsually
	}
	var once sync.Once
	r := runStreams(t, f, Config{Sessions: 20, Login: LoginPlain, Scenario: Chat, Messages: 200, Reactors: 2,
		Duration: 4 * time.Second, Settle: 10 * time.Second}, func(s Status) {
		if s.Phase == string(Chat) && s.Done > 2000 {
			once.Do(func() { f.strike(closeFrame(ws.CodeGoingAway, "")) })
		}
	})
	if m := r.Messages; r.Verdict.Status != StatusFine || n < 30 || m.Delivered != m.Sent {
		t.Errorf("%+v %+v", r.Verdict, m)
	}
	st := r.Streams
	if st.Resumed < 20 || st.Refused != 0 || st.Closes["1001"] < 5 || st.Closes["1006"] < 5 ||
		r.Requests["resent"] < 5 {
		t.Errorf("%+v, %d sent again", st, r.Requests["resent"])
	}
	if r.Errors["websocket_closed"] != st.Closes["1001"] || r.Errors["connection_lost"] != st.Closes["1006"] {
		t.Errorf("%v, %v", r.Errors, st.Closes)
	}
}

// TestBroadcastResumes: of a batch that the server has handled in part only the rest comes again.
func TestBroadcastResumes(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	n := 0
	f.script = func(_ *streamClient, element string) streamAct {
		if strings.HasPrefix(element, "<message") {
			if n++; n == 7 || n == 13 {
				return actLose
			}
		}
		return actUsually
	}
	r := runStreams(t, f, Config{Sessions: 200, Login: LoginPlain, Scenario: Broadcast, Rate: 2000, Reactors: 1,
		Size: 1000, Settle: 20 * time.Second, Duration: time.Minute}, nil)
	if m := r.Messages; r.Verdict.Status != StatusFine || m.Delivered != 200 || r.Streams.Resumed != 2 {
		t.Errorf("%+v %+v %+v", r.Verdict, m, r.Streams)
	}
}

// TestStormOfStreams: after a restart of the edge sessions resume. After one of the server, or if they cannot resume,
// they begin anew.
func TestStormOfStreams(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		login  Login
		forget bool
		last   string
		retry  string
	}{
		{"edge killed", LoginPlain, false, "", "load"},
		{"edge drained", LoginPlain, false, closeFrame(ws.CodeGoingAway, ""), "strophe"},
		{"server killed", LoginPlain, true, closeFrame(ws.CodeServiceRestart, ""), "load,stanza"},
		{"anonymous", LoginAnonymous, false, "", "load"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newStreamFake(t)
			var once sync.Once
			r := runStreams(t, f, Config{Sessions: 40, Login: test.login, Scenario: Storm, Retry: test.retry,
				Duration: 60 * time.Second}, func(s Status) {
				if s.Phase == string(Storm) {
					once.Do(func() {
						if test.forget {
							f.forget()
						}
						f.strike(test.last)
					})
				}
			})
			s := r.Storm
			if r.Verdict.Status != StatusFine || !s.Recovered || s.Connections != 40 || r.Sessions.Held != 40 {
				t.Fatalf("%+v %+v %+v", r.Verdict, s, r.Sessions)
			}
			anew := test.forget || test.login == LoginAnonymous
			if (s.Renewed == 40) != anew || (r.Streams.Resumed == 40) == anew {
				t.Errorf("%d sessions renewed, %+v", s.Renewed, r.Streams)
			}
			if asked := r.Streams.Refused == 40; asked != test.forget {
				t.Errorf("%+v", r.Streams)
			}
		})
	}
}

// TestSessionThatIsForgotten: outside a storm a session that cannot be resumed is lost, as one of BOSH is that the
// server does not know.
func TestSessionThatIsForgotten(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	var once sync.Once
	r := runStreams(t, f, Config{Sessions: 5, Login: LoginPlain, Duration: 3 * time.Second}, func(s Status) {
		if s.Phase == string(Hold) {
			once.Do(func() {
				f.forget()
				f.strike("")
			})
		}
	})
	if r.Verdict.Status != statusSessions || r.Sessions.Lost != 5 || r.Streams.Refused != 5 {
		t.Errorf("%+v %+v %+v", r.Verdict, r.Sessions, r.Streams)
	}
}

// TestWhatAServerMayDoToAHandshake: each row has the first answer to the only session, and the counter of that.
func TestWhatAServerMayDoToAHandshake(t *testing.T) {
	t.Parallel()
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, test := range []struct {
		name, answer string
		status       int
		errors       string
	}{
		{"503", httpText(503, "Retry-After: 1\r\n"), StatusFine, "status_5xx"},
		{"429", httpText(429, ""), StatusFine, "status_5xx"},
		{"404", httpText(404, ""), statusSessions, "status_4xx"},
		{"200", httpText(200, ""), statusSessions, "status_4xx"},
		{"302", httpText(302, "Location: /\r\n"), statusSessions, "status_4xx"},
		{"no HTTP", "220 mail.example ESMTP\r\n", StatusFine, "malformed_response"},
		{"no upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", StatusFine, "malformed_response"},
		{"wrong accept", upgrade + "Sec-WebSocket-Accept: AAAA\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n", StatusFine,
			"malformed_response"},
		{"an endless head", "HTTP/1.1 101 X\r\n" + strings.Repeat("a: b\r\n", 4000), StatusFine, "malformed_response"},
		{"half a head", "HTTP/1.1 101 Swit", StatusFine, "connection_lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newStreamFake(t)
			f.answer = func(n int) string {
				if n == 0 {
					return test.answer
				}
				return ""
			}
			r := runStreams(t, f, Config{Sessions: 1, Login: LoginPlain}, nil)
			if r.Verdict.Status != test.status || r.Errors[test.errors] != 1 {
				t.Errorf("%+v, %v", r.Verdict, r.Errors)
			}
		})
	}
}

// TestWhatAServerMayDoToAStream: each row has what the server sends instead of the answer to the first message, and the
// counter of that. The session resumes, or is lost.
func TestWhatAServerMayDoToAStream(t *testing.T) {
	t.Parallel()
	text := func(s string) string { return string(ws.AppendHeader(nil, ws.Text, len(s))) + s }
	for _, test := range []struct {
		name, sends string
		then        streamAct
		status      int
		errors      string
	}{
		{"going away", closeFrame(ws.CodeGoingAway, "bye"), actIgnore, StatusFine, "websocket_closed"},
		{"no code", closeFrame(ws.CodeNone, ""), actIgnore, StatusFine, "websocket_closed"},
		{"masked", "\x81\x80abcd", actIgnore, StatusFine, "malformed_response"},
		{"binary", "\x82\x00", actIgnore, StatusFine, "malformed_response"},
		{"no UTF-8", "\x81\x01\xff", actIgnore, StatusFine, "malformed_response"},
		{"compressed", "\xc1\x00", actIgnore, StatusFine, "malformed_response"},
		{"a huge frame", "\x81\x7f\x00\x00\x00\x10\x00\x00\x00\x00", actIgnore, StatusFine, "malformed_response"},
		{"no element", text("hello"), actUsually, StatusFine, "malformed_response"},
		{"a foreign element", text("<html/>"), actUsually, StatusFine, "malformed_response"},
		{"stream error", text("<stream:error xmlns:stream='x'><conflict/></stream:error>"), actIgnore, statusSessions,
			"terminated"},
		{"close", text("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), actIgnore, statusSessions,
			"terminated"},
		{"too many acknowledged", text("<a xmlns='urn:xmpp:sm:3' h='77'/>"), actIgnore, statusSessions,
			"malformed_response"},
		{"no number acknowledged", text("<a xmlns='urn:xmpp:sm:3'/>"), actIgnore, statusSessions, "malformed_response"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newStreamFake(t)
			done := false
			f.script = func(c *streamClient, element string) streamAct {
				if done || !strings.HasPrefix(element, "<message") {
					return actUsually
				}
				done = true
				_, _ = c.conn.Write([]byte(test.sends))
				return test.then
			}
			r := runStreams(t, f, Config{Sessions: 2, Login: LoginPlain, Scenario: Chat, Messages: 10, Reactors: 1,
				Patience: time.Second, Wait: 1, Settle: 6 * time.Second}, nil)
			if r.Errors[test.errors] != 1 || r.Verdict.Status != test.status && r.Verdict.Status != statusMessages ||
				(r.Verdict.Status == StatusFine) != (test.status == StatusFine) {
				t.Errorf("%+v, %v, %+v", r.Verdict, r.Errors, r.Messages)
			}
			if lost := r.Sessions.Lost; (lost == 1) != (test.status == statusSessions) {
				t.Errorf("%d sessions lost", lost)
			}
		})
	}
}

// TestSilentServerIsGivenUp: the client stops waiting for an acknowledgement, connects again and resumes.
func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	var deaf *streamClient
	f.script = func(c *streamClient, element string) streamAct {
		if deaf == nil && strings.HasPrefix(element, "<message") {
			deaf = c
		}
		if c == deaf {
			return actIgnore
		}
		return actUsually
	}
	r := runStreams(t, f, Config{Sessions: 2, Login: LoginPlain, Scenario: Chat, Messages: 1, Reactors: 1, Wait: 1,
		Patience: time.Second, Settle: 10 * time.Second, Duration: 2 * time.Second}, nil)
	if m := r.Messages; r.Verdict.Status != StatusFine || m.Sent == 0 || m.Delivered != m.Sent ||
		r.Errors["response_timeout"] != 1 || r.Streams.Resumed != 1 || r.Requests["resent"] < 1 {
		t.Errorf("%+v %+v %v %+v", r.Verdict, m, r.Errors, r.Streams)
	}
}

// TestSilentStreamIsAsked: a client pings a server from which nothing has come for a while. If it does not answer, the
// session connects again. Time passes by moving the beginning of the run.
func TestSilentStreamIsAsked(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	r := launchStreams(t, f)
	expire := func(passed time.Duration) {
		r.each(func(w *worker) {
			w.start = w.start.Add(-passed)
			x := w.transport.(*streaming)
			x.Expired(x.streams[0].conn)
		})
	}
	asked := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.asked
	}
	before := r.heardAt()
	expire(silence - time.Second)
	if asked() != 0 {
		t.Error("a client asks too early")
	}
	expire(2 * time.Second)
	until(t, "a ping", func() bool { return asked() == 1 })
	until(t, "its answer", func() bool { return r.heardAt() != before })
	expire(silence - time.Second)
	expire(2*time.Second + defaultPatience)
	r.each(func(w *worker) {
		if x := w.transport.(*streaming); w.counters[cTimeouts] != 1 || x.streams[0].conn != noConn ||
			w.sessions[0].stage != stageCreating || w.backoffs.n != 1 {
			t.Errorf("%d timeouts, session %+v", w.counters[cTimeouts], w.sessions[0])
		}
	})
	if n := asked(); n != 1 {
		t.Errorf("%d pings", n)
	}
}

// heardAt returns the time of the last input of session 0.
func (r *run) heardAt() (at stamp) {
	r.each(func(w *worker) { at = w.transport.(*streaming).streams[0].at })
	return at
}

// TestStreamThatNeverHolds: a server that accepts sessions and drops them at once is tried a bounded number of times.
func TestStreamThatNeverHolds(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.script = func(_ *streamClient, element string) streamAct {
		if strings.HasPrefix(element, "<presence") {
			return actLose
		}
		return actUsually
	}
	r := runStreams(t, f, Config{Sessions: 3, Login: LoginPlain, Presence: true, Tries: 4, Duration: 30 * time.Second},
		nil)
	if r.Sessions.Lost != 3 || r.Streams.Opened != 3*4 || r.Verdict.Status != statusSessions {
		t.Errorf("%+v %+v %+v", r.Verdict, r.Sessions, r.Streams)
	}
}

func TestStreamsThatNothingAnswers(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.addr = "127.0.0.1:1" // nothing ever listens there
	r := runStreams(t, f, Config{Sessions: 3, Tries: 4, Login: LoginPlain}, nil)
	if r.Sessions.Failed != 3 || r.Verdict.Status != statusSessions || r.Errors["connection_refused"] != 3*4 {
		t.Errorf("%+v %+v %v", r.Verdict, r.Sessions, r.Errors)
	}
}

func TestStreamWhoseLogInIsRefused(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.script = func(c *streamClient, element string) streamAct {
		if strings.HasPrefix(element, "<auth ") {
			c.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
			return actDone
		}
		return actUsually
	}
	r := runStreams(t, f, Config{Sessions: 5, Login: LoginPlain}, nil)
	if r.Sessions.Failed != 5 || r.Errors["login_failed"] != 5 || r.Verdict.Status != statusSessions {
		t.Errorf("%+v %v", r.Verdict, r.Errors)
	}
}

// TestStreamsOverTLS: each kind of handshake, with every message accounted for.
func TestStreamsOverTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range encryptions {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			secure, _ := newSecureFake(t)
			f := newStreamFake(t)
			f.tls = secure.tls
			r := runStreams(t, f, Config{Sessions: 20, Login: LoginPlain, Scenario: Chat, Messages: 100, Reactors: 2,
				TLS: kind}, nil)
			if m := r.Messages; r.Verdict.Status != StatusFine || m.Sent == 0 || m.Sent != m.Delivered {
				t.Errorf("%+v, %+v", r.Verdict, m)
			}
			made, resumed := r.Requests["connections"], r.Requests["tls_resumed"]
			if want := map[bool]uint64{true: made}[kind.resumes()]; resumed != want || made != 20 {
				t.Errorf("%d of %d handshakes have resumed", resumed, made)
			}
		})
	}
}

// absence keeps sessions from coming back until the run waits for them.
type absence struct{ refused, over atomic.Bool }

// answer is a streamFake's.
func (a *absence) answer(int) string {
	if a.refused.Load() && !a.over.Load() {
		return httpText(503, "")
	}
	return ""
}

func (a *absence) show(s Status) {
	if s.Phase == phaseReturning {
		a.over.Store(true)
	}
}

// TestBroadcastNotSentWhole: a broadcast that ends before all of it is sent is not fine, though nothing is lost.
func TestBroadcastNotSentWhole(t *testing.T) {
	t.Parallel()
	t.Run("its session is away", func(t *testing.T) {
		t.Parallel()
		f, a, n := newStreamFake(t), &absence{}, 0
		f.answer = a.answer
		f.script = func(_ *streamClient, element string) streamAct {
			if strings.HasPrefix(element, "<message") {
				if n++; n == 50 {
					a.refused.Store(true)
					return actLose
				}
			}
			return actUsually
		}
		r := runStreams(t, f, Config{Sessions: 200, Login: LoginPlain, Scenario: Broadcast, Rate: 2000, Reactors: 1,
			Size: 1000, Duration: time.Minute}, a.show)
		if m := r.Messages; r.Verdict.Status != statusMessages || m.Lost != 0 || m.Delivered != m.Sent ||
			m.Sent < 50 || m.Sent+m.Unsent != 200 {
			t.Errorf("%+v %+v", r.Verdict, m)
		}
	})
	t.Run("all are away", func(t *testing.T) {
		t.Parallel()
		f, a := newStreamFake(t), &absence{}
		f.answer = a.answer
		var once sync.Once
		r := runStreams(t, f, Config{Sessions: 20, Login: LoginPlain, Reactors: 2, Then: "broadcast=1m",
			Duration: 2 * time.Second}, func(s Status) {
			if a.show(s); s.Phase == string(Hold) {
				once.Do(func() {
					a.refused.Store(true)
					f.strike("")
				})
			}
		})
		if m := r.Messages; r.Verdict.Status != statusMessages || m.Sent != 0 || m.Unsent != 20 {
			t.Errorf("%+v %+v", r.Verdict, m)
		}
	})
}

// TestReturnedMessagesArrive: a session that was away longer than messages are awaited sends its message again. The
// readers do not leave before that has arrived.
func TestReturnedMessagesArrive(t *testing.T) {
	t.Parallel()
	f, a := newStreamFake(t), &absence{}
	f.answer = a.answer
	first := ""
	var back *streamClient // from which messages are held back
	var held []string
	f.script = func(c *streamClient, element string) streamAct {
		switch {
		case !strings.HasPrefix(element, "<message"):
		case first == "":
			first = element
			a.refused.Store(true)
			return actLose
		case element == first || c == back:
			back, held = c, append(held, element)
			c.s.taken++
			return actDone
		}
		return actUsually
	}
	cfg := Config{Sessions: 2, Login: LoginPlain, Scenario: Chat, Messages: 5, Reactors: 1}
	r := runStreams(t, f, cfg, func(s Status) {
		if a.show(s); !a.over.Load() || s.Phase != phaseSettling {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, element := range held {
			back.element(element)
			back.s.taken--
		}
		held = nil
	})
	if m := r.Messages; r.Verdict.Status != StatusFine || m.Sent == 0 || m.Delivered != m.Sent ||
		r.Streams.Resumed != 1 {
		t.Errorf("%+v %+v %+v", r.Verdict, m, r.Streams)
	}
}
