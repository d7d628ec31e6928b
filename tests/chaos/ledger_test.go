package chaos

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal is what was done to whom and when, for people.
type journal struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%8.3f ", time.Since(j.began).Seconds())+fmt.Sprintf(format, args...))
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// ledger is the account of all messages; the package documentation says what it demands.
type ledger struct {
	mu    sync.Mutex
	flows []*flow
	kills []kill
	wrong []string // what may not happen and did
}

// party is a session as the ledger sees it.
type party struct {
	user, domain, jid string
	born              time.Time // before its creation was asked for
	ended             bool
	flows             map[*party]*flow // as an author, by reader
}

// kill is the end of an origin: at is when its process was certainly gone.
type kill struct {
	domain string
	at     time.Time
}

// flow is the messages from one session to another.
type flow struct {
	number         int
	author, reader *party
	messages       []message
	next           int // the one to be delivered next
}

type message struct {
	acked, returned, moved bool
	passed                 bool // a later one was moved, and this one was not
}

func (l *ledger) fault(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// send enters a message and gives its name.
func (l *ledger) send(author, reader *party) (name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := author.flows[reader]
	if f == nil {
		f = &flow{number: len(l.flows), author: author, reader: reader}
		l.flows = append(l.flows, f)
		author.flows[reader] = f
	}
	f.messages = append(f.messages, message{})
	return fmt.Sprintf("%d.%d", f.number, len(f.messages)-1)
}

// find is the message of that name.
func (l *ledger) find(name string) (f *flow, n int) {
	var number int
	if _, err := fmt.Sscanf(name, "%d.%d", &number, &n); err != nil || number >= len(l.flows) ||
		n >= len(l.flows[number].messages) {
		l.fault("there is no message %q", name)
		return nil, 0
	}
	return l.flows[number], n
}

// acked: the request with the message was answered.
func (l *ledger) acked(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, n := l.find(name); f != nil {
		f.messages[n].acked = true
	}
}

// delivered: a session has read the message.
func (l *ledger) delivered(reader *party, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, n := l.find(name)
	switch {
	case f == nil:
	case f.reader.user != reader.user || f.reader.domain != reader.domain:
		l.fault("%s went to %s, and not to %s", name, reader.jid, f.reader.jid)
	case n < f.next:
		l.fault("%s was delivered twice", name)
	case f.reader != reader:
		for i := f.next; i < n; i++ {
			f.messages[i].passed = true
		}
		f.messages[n].moved, f.next = true, n+1
	case n > f.next:
		l.fault("%s was delivered before %d.%d", name, f.number, f.next)
		f.next = n + 1
	case f.messages[n].returned:
		l.fault("%s was returned, and delivered after all", name)
	default:
		f.next++
	}
}

// returned: the author got the message back as an error.
func (l *ledger) returned(author *party, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, n := l.find(name)
	switch {
	case f == nil:
	case f.author != author:
		l.fault("%s was returned to %s, who is not its author", name, author.jid)
	case n < f.next:
		l.fault("%s was delivered, and returned", name)
	default:
		f.messages[n].returned = true
	}
}

// over: a session has ended, which it may when its origin was killed in its time.
func (l *ledger) over(p *party, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.ended = true
	for _, k := range l.kills {
		if k.domain == p.domain && k.at.After(p.born) {
			return
		}
	}
	l.fault("the session of %s has ended, although its origin lives: %s", p.user, why)
}

// killed: an origin is gone now.
func (l *ledger) killed(domain string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills = append(l.kills, kill{domain, time.Now()})
}

// account is how many messages had which fate. Open are those of which more is to be heard.
type account struct{ sent, delivered, moved, failed, returned, died, open int }

// balance counts. Once no client sends any more and all is well, open becomes 0, or messages are lost.
func (l *ledger) balance() (a account, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong = append(wrong, l.wrong...)
	for _, f := range l.flows {
		a.sent += len(f.messages)
		for n, m := range f.messages {
			switch {
			case m.moved && f.reader.ended:
				a.moved++
			case m.moved:
				wrong = append(wrong, fmt.Sprintf("%d.%d went to another session of %s", f.number, n, f.reader.jid))
			case n < f.next && !m.passed:
				a.delivered++
			case m.returned && f.reader.ended:
				a.returned++
			case !m.acked && f.author.ended:
				a.failed++
			case m.acked && f.reader.ended:
				a.died++
			default:
				a.open++
			}
		}
	}
	return a, wrong
}

// TestLedger: what may not happen is noticed.
func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *ledger, a, b *party, m []string) // three messages were sent from a to b
		want account
		says string
	}{
		{"all is well", func(l *ledger, a, b *party, m []string) {
			for _, name := range m {
				l.delivered(b, name)
			}
		}, account{sent: 3, delivered: 3}, ""},
		{"nothing has come yet", func(l *ledger, a, b *party, m []string) {}, account{sent: 3, open: 3}, ""},
		{"acknowledged and lost", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.acked(m[1])
		}, account{sent: 3, delivered: 1, open: 2}, ""},
		{"twice", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.delivered(b, m[0])
		}, account{sent: 3, delivered: 1, open: 2}, "twice"},
		{"skipped", func(l *ledger, a, b *party, m []string) { l.delivered(b, m[1]) },
			account{sent: 3, delivered: 2, open: 1}, "before"},
		{"astray", func(l *ledger, a, b *party, m []string) { l.delivered(a, m[0]) },
			account{sent: 3, open: 3}, "went to"},
		{"to a later session", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.acked(m[1])
			l.killed("x")
			l.over(b, "")
			l.delivered(&party{user: b.user, domain: b.domain}, m[2])
		}, account{sent: 3, delivered: 1, moved: 1, died: 1}, ""},
		{"to a later session while there is the one", func(l *ledger, a, b *party, m []string) {
			l.delivered(&party{user: b.user, domain: b.domain}, m[0])
		}, account{sent: 3, open: 2}, "another session"},
		{"unheard of", func(l *ledger, a, b *party, m []string) { l.delivered(a, "7.7") },
			account{sent: 3, open: 3}, "no message"},
		{"returned while the reader lives", func(l *ledger, a, b *party, m []string) { l.returned(a, m[0]) },
			account{sent: 3, open: 3}, ""},
		{"returned and delivered", func(l *ledger, a, b *party, m []string) {
			l.returned(a, m[0])
			l.delivered(b, m[0])
		}, account{sent: 3, open: 3}, "after all"},
		{"delivered and returned", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.returned(a, m[0])
		}, account{sent: 3, delivered: 1, open: 2}, "and returned"},
		{"the origin was killed", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.acked(m[0])
			l.acked(m[1])
			l.killed("x")
			l.over(a, "")
			l.over(b, "")
		}, account{sent: 3, delivered: 1, died: 1, failed: 1}, ""},
		{"another origin was killed", func(l *ledger, a, b *party, m []string) {
			l.killed("y")
			l.over(a, "")
		}, account{sent: 3, failed: 3}, "although its origin lives"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &ledger{}
			a := &party{user: "a", domain: "x", flows: map[*party]*flow{}}
			b := &party{user: "b", domain: "x"}
			var names []string
			for range 3 {
				names = append(names, l.send(a, b))
			}
			c.do(l, a, b, names)
			got, wrong := l.balance()
			said := strings.Join(wrong, "; ")
			if got != c.want || (said == "") != (c.says == "") || !strings.Contains(said, c.says) {
				t.Errorf("%+v and %q, want %+v and %q", got, said, c.want, c.says)
			}
		})
	}
}
