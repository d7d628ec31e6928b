package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWhatAServerMayDoToAPoll: each row has a server's fault at the second request of the only session, its first poll,
// and the client's expected reaction. The fake rejects pipelining.
func TestWhatAServerMayDoToAPoll(t *testing.T) {
	t.Parallel()
	const terminate = "<body type='terminate' condition='policy-violation' " + fakeNS + "/>"
	for _, test := range []struct {
		name   string
		answer fakeAnswer
		times  int // how often
		status int
		errors string
		count  uint64
	}{
		{"503", fakeAnswer{status: 503}, 1, StatusFine, "status_5xx", 1},
		{"502 and again", fakeAnswer{status: 502, body: "<html>sorry</html>"}, 2, StatusFine, "status_5xx", 2},
		{"429", fakeAnswer{status: 429}, 1, StatusFine, "status_5xx", 1},
		{"closed without an answer", fakeAnswer{hangUp: true}, 1, StatusFine, "connection_lost", 1},
		{"closed after it was handled", fakeAnswer{lose: true}, 1, StatusFine, "connection_lost", 1},
		{"half a response", fakeAnswer{raw: "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n<body", cut: true}, 1,
			StatusFine, "connection_lost", 1},
		{"no HTTP", fakeAnswer{raw: "nonsense\r\n\r\n"}, 1, StatusFine, "malformed_response", 1},
		{"no BOSH", fakeAnswer{status: 200, body: "hello"}, 1, StatusFine, "malformed_response", 1},
		{"recoverable error", fakeAnswer{status: 200, body: "<body type='error' " + fakeNS + "/>"}, 1, StatusFine,
			"recoverable_error", 1},
		{"more than was asked for", fakeAnswer{raw: "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n"},
			1, StatusFine, "stray_bytes", 1},
		{"404", fakeAnswer{status: 404}, 1, statusSessions, "status_4xx", 1},
		{"terminate", fakeAnswer{status: 200, body: terminate}, 1, statusSessions, "terminated", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			polls, left := "", test.times
			f.script = func(q *fakeRequest) *fakeAnswer {
				if q.number == 1 {
					polls = q.rid
				}
				if q.number == 0 || q.rid != polls || left == 0 || strings.Contains(q.raw, "terminate") {
					return nil
				}
				left--
				a := test.answer
				return &a
			}
			r := try(t, f, Config{Sessions: 1, Duration: 2500 * time.Millisecond})
			if r.Verdict.Status != test.status {
				t.Errorf("verdict %+v", r.Verdict)
			}
			if r.Errors[test.errors] != test.count {
				t.Errorf("%s is %d, want %d; all: %v", test.errors, r.Errors[test.errors], test.count, r.Errors)
			}
			if test.status == StatusFine && r.Requests["resent"] != uint64(test.times) {
				t.Errorf("sent again %d times, want %d", r.Requests["resent"], test.times)
			}
		})
	}
}

// TestConnectionClose: a server that closes each connection behind its answer gets a new one for each request, without
// an error.
func TestConnectionClose(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.headers = "Connection: close\r\n"
	r := try(t, f, Config{Sessions: 3, Duration: 3 * time.Second})
	if r.Verdict.Status != StatusFine || r.Requests["connections"] != r.Requests["requests"] ||
		r.Errors["connection_lost"] != 0 {
		t.Errorf("%+v %v %v", r.Verdict, r.Requests, r.Errors)
	}
}

// TestMessagesSurviveLostConnections: a message whose request is lost, before or after it reached the server, arrives
// once.
func TestMessagesSurviveLostConnections(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	n := 0
	f.script = func(q *fakeRequest) *fakeAnswer {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !strings.Contains(q.raw, "<message") || q.tries > 0 {
			return nil
		}
		switch n++; n % 4 {
		case 1:
			return &fakeAnswer{hangUp: true}
		case 2:
			return &fakeAnswer{lose: true}
		case 3:
			return &fakeAnswer{status: 503, headers: "Retry-After: 1\r\n"}
		}
		return nil
	}
	r := try(t, f, Config{Sessions: 20, Login: LoginPlain, Scenario: Chat, Messages: 50, Wait: 1,
		Settle: 6 * time.Second, Duration: 2 * time.Second})
	if r.Verdict.Status != StatusFine || r.Messages.Sent < 50 || r.Requests["resent"] < 30 {
		t.Errorf("%+v %+v %v %v", r.Verdict, r.Messages, r.Requests, r.Errors)
	}
}

// TestAnswersAreTakenInOrder: the answers to a session's two requests come on two connections, often the later one
// first. They are processed in the order of the requests.
func TestAnswersAreTakenInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.late = func() time.Duration { return time.Duration(rand.IntN(200)) * time.Millisecond }
	r := try(t, f, Config{Sessions: 4, Login: LoginPlain, Scenario: Chat, Messages: 200, Wait: 2,
		Duration: 3 * time.Second})
	if r.Verdict.Status != StatusFine || r.Messages.Sent < 30 {
		t.Errorf("%+v %+v %v", r.Verdict, r.Messages, r.Errors)
	}
}

// TestEarlyAnswersDoNotRaceOn: the client slows down if a server answers polls at once.
func TestEarlyAnswersDoNotRaceOn(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.script = func(q *fakeRequest) *fakeAnswer {
		if q.number == 0 || strings.Contains(q.raw, "terminate") {
			return nil
		}
		return &fakeAnswer{body: "<body " + fakeNS + "/>"}
	}
	r := try(t, f, Config{Sessions: 1, Duration: 2 * time.Second})
	if n := r.Requests["polls"]; n < 2 || n > 40 || r.Requests["early_empty"] == 0 {
		t.Errorf("%d polls in two seconds; %v", n, r.Requests)
	}
}

func TestLogInThatIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.script = func(q *fakeRequest) *fakeAnswer {
		if strings.Contains(q.raw, "<auth ") {
			return &fakeAnswer{body: "<body " + fakeNS + "><failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></body>"}
		}
		return nil
	}
	r := try(t, f, Config{Sessions: 5, Login: LoginPlain})
	if r.Sessions.Failed != 5 || r.Errors["login_failed"] != 5 || r.Verdict.Status != statusSessions {
		t.Errorf("%+v %v", r.Verdict, r.Errors)
	}
}

// TestLogInThatTakesPolls: the client polls for parts of the log-in that a server sends late.
func TestLogInThatTakesPolls(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.script = func(q *fakeRequest) *fakeAnswer {
		if strings.Contains(q.raw, "<auth ") || strings.Contains(q.raw, "restart='true'") {
			f.mu.Lock()
			defer f.mu.Unlock()
			s := f.sessions[q.sid]
			f.payload(s, q.raw) // pending until the answer to the next request
			return &fakeAnswer{body: "<body " + fakeNS + "/>"}
		}
		return nil
	}
	r := try(t, f, Config{Sessions: 5, Login: LoginPlain})
	if r.Verdict.Status != StatusFine || r.Requests["polls"] < 10 {
		t.Errorf("%+v %v", r.Verdict, r.Requests)
	}
}

// TestNobodyListens: without a listener every session is given up eventually, and the run ends by itself.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.addr = "127.0.0.1:1" // nothing ever listens there
	r := try(t, f, Config{Sessions: 3, Tries: 4})
	if r.Sessions.Failed != 3 || r.Verdict.Status != statusSessions || r.Errors["connection_refused"] != 3*4 {
		t.Errorf("%+v %+v %v", r.Verdict, r.Sessions, r.Errors)
	}
}

// TestStormIsWeathered: a restart of the edge closes all connections. If the server restarts with it, the sessions are
// gone as well.
func TestStormIsWeathered(t *testing.T) {
	for _, forget := range []bool{false, true} {
		t.Run(fmt.Sprintf("sessions forgotten %v", forget), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			var once sync.Once
			cfg := Config{Sessions: 40, Scenario: Storm, Wait: 3, Duration: 20 * time.Second}
			r := watch(t, f, cfg, func(s Status) {
				if s.Phase == string(Storm) {
					once.Do(func() { f.strike(forget) })
				}
			})
			s := r.Storm
			if r.Verdict.Status != StatusFine || !s.Recovered || s.Connections < 40 || r.Sessions.Held != 40 {
				t.Fatalf("%+v %+v %+v", r.Verdict, s, r.Sessions)
			}
			if (s.Renewed == 40) != forget || !forget && s.Renewed > 0 {
				t.Errorf("%d sessions renewed", s.Renewed)
			}
		})
	}
}

func TestStormThatDoesNotCome(t *testing.T) {
	t.Parallel()
	r := try(t, newFake(t), Config{Sessions: 4, Scenario: Storm, Wait: 3, Duration: time.Second})
	if r.Verdict.Status != statusSessions || r.Storm.Recovered {
		t.Errorf("%+v %+v", r.Verdict, r.Storm)
	}
}

// TestLateAnswerIsGivenUp: the client stops waiting for a missing answer and sends the request again.
func TestLateAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.script = func(q *fakeRequest) *fakeAnswer {
		if q.number == 1 {
			return &fakeAnswer{raw: "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n<body"}
		}
		return nil
	}
	r := try(t, f, Config{Sessions: 1, Patience: time.Second, Duration: 4 * time.Second})
	if r.Verdict.Status != StatusFine || r.Errors["response_timeout"] != 1 || r.Requests["resent"] != 1 {
		t.Errorf("%+v %v %v", r.Verdict, r.Errors, r.Requests)
	}
}
