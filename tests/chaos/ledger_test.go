package chaos

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal has the faults with their time and target, for people.
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
	// The origin keeps what a session has not had when it ends, and gives it to a later one of the same user.
	keeps bool
	// The origin may forget messages from or to a session when a request of it comes again. ejabberd's own engine
	// answers the older copy, with nothing or with the request itself, and a third one with the same.
	forgets bool

	mu      sync.Mutex
	flows   []*flow
	endings []*ending
	over    []*party // sessions that have ended
	wrong   []string // what may not happen and did
}

// party is a session as the ledger sees it.
type party struct {
	user, domain, jid, sid string
	born                   time.Time // before its creation was asked for
	ended                  bool
	robbed                 bool             // what it had not read may be lost
	torn                   bool             // it has sent a request again
	flows                  map[*party]*flow // as an author, by reader
}

// ending is something that ends sessions.
type ending struct {
	of   func(*party) bool
	robs bool      // what they have not read is lost
	at   time.Time // when it was certainly over; zero: it is not
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
	had                    bool // by its reader
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
	case f.messages[n].had || f.messages[n].moved || f.messages[n].passed:
		l.fault("%s was delivered twice, or after a later one", name)
	case f.messages[n].returned:
		l.fault("%s was returned, and delivered after all", name)
	case f.reader != reader:
		f.messages[n].moved = true
		if !l.keeps { // kept messages have no order
			for ; f.next <= n; f.next++ {
				f.messages[f.next].passed = f.next < n
			}
		}
	default:
		if n != f.next && !l.mayForget(f) {
			l.fault("%s was delivered before %d.%d", name, f.number, f.next)
		}
		f.messages[n].had, f.next = true, max(f.next, n+1)
	}
}

// returned: the author got the message back as an error.
func (l *ledger) returned(author *party, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, n := l.find(name)
	switch {
	case f == nil:
	case f.author != author && !(l.keeps && f.author.user == author.user):
		l.fault("%s was returned to %s, who is not its author", name, author.jid)
	case f.messages[n].had || f.messages[n].moved:
		l.fault("%s was delivered, and returned", name)
	default:
		f.messages[n].returned = true
	}
}

// resent: a session has sent a request again.
func (l *ledger) resent(p *party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.torn = true
}

// ended: a session has ended, which it may if a fault in its time ended it. Unsure: the last answers to it were lost on
// the way, with their contents.
func (l *ledger) ended(p *party, unsure bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.ended = true
	l.over = append(l.over, p)
	excused := false
	for _, e := range l.endings {
		if e.of(p) && (e.at.IsZero() || e.at.After(p.born)) {
			excused = true
			p.robbed = p.robbed || e.robs || unsure
		}
	}
	if !excused {
		l.fault("the session of %s has ended, although its origin lives: %s", p.jid, why)
	}
	if l.keeps && !strings.Contains(why, " condition='") {
		l.fault("the session of %s has ended without a condition: %s", p.jid, why)
	}
}

// ends does something that ends sessions.
func (l *ledger) ends(of func(*party) bool, robs bool, do func()) {
	e := &ending{of: of, robs: robs}
	l.mu.Lock()
	l.endings = append(l.endings, e)
	l.mu.Unlock()
	do()
	l.mu.Lock()
	e.at = time.Now()
	l.mu.Unlock()
}

// forgetful is between how many pairs of sessions messages may be forgotten.
func (l *ledger) forgetful() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.flows {
		if l.mayForget(f) {
			n++
		}
	}
	return n
}

func (l *ledger) mayForget(f *flow) bool { return l.forgets && (f.reader.torn || f.author.torn) }

// mayBeLost: a fault robbed the reader, or a later session of the same user to which the kept messages may have gone.
func (l *ledger) mayBeLost(reader *party) bool {
	for _, p := range l.over {
		if p.robbed && p.user == reader.user && p.domain == reader.domain && !p.born.Before(reader.born) {
			return true
		}
	}
	return false
}

// account has the number of messages of each fate. Open are those without a fate yet.
type account struct{ sent, delivered, moved, failed, returned, died, open int }

// balance counts. When no client sends and all is well, open becomes 0, or messages are lost.
func (l *ledger) balance() (a account, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong = append(wrong, l.wrong...)
	for _, f := range l.flows {
		a.sent += len(f.messages)
		for n := range f.messages {
			if m := f.messages[n]; m.moved && !f.reader.ended {
				wrong = append(wrong, fmt.Sprintf("%d.%d went to another session of %s", f.number, n, f.reader.jid))
			} else {
				*l.entry(&a, f, m)++
			}
		}
	}
	return a, wrong
}

// entry is where the account counts a message.
func (l *ledger) entry(a *account, f *flow, m message) *int {
	switch {
	case m.moved:
		return &a.moved
	case m.had:
		return &a.delivered
	case m.returned && f.reader.ended:
		return &a.returned
	case !m.acked && f.author.ended:
		return &a.failed
	case l.mayForget(f):
		return &a.died
	case m.acked && f.reader.ended && (!l.keeps || l.mayBeLost(f.reader)):
		return &a.died
	}
	return &a.open
}

// open returns some of the messages without a fate, for people.
func (l *ledger) open() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var a account
	for _, f := range l.flows {
		for n, m := range f.messages {
			if len(names) < 10 && l.entry(&a, f, m) == &a.open {
				names = append(names, fmt.Sprintf("%d.%d %+v to %s (ended %v)", f.number, n, m, f.reader.jid,
					f.reader.ended))
			}
		}
	}
	return names
}

// of is the sessions of a domain.
func of(domain string) func(*party) bool { return func(p *party) bool { return p.domain == domain } }

// TestLedger: what may not happen is noticed.
func TestLedger(t *testing.T) {
	const said = "<body type='terminate' condition='item-not-found'/>"
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
			account{sent: 3, delivered: 1, open: 2}, "before"},
		{"astray", func(l *ledger, a, b *party, m []string) { l.delivered(a, m[0]) },
			account{sent: 3, open: 3}, "went to"},
		{"to a later session", func(l *ledger, a, b *party, m []string) {
			l.delivered(b, m[0])
			l.acked(m[1])
			l.ends(of("x"), true, func() {})
			l.ended(b, false, "")
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
			l.ends(of("x"), true, func() { l.ended(a, false, "") })
			l.ended(b, false, "")
		}, account{sent: 3, delivered: 1, died: 1, failed: 1}, ""},
		{"another origin was killed", func(l *ledger, a, b *party, m []string) {
			l.ends(of("y"), true, func() {})
			l.ended(a, false, "")
		}, account{sent: 3, failed: 3}, "although its origin lives"},
		{"the origin was killed before", func(l *ledger, a, b *party, m []string) {
			l.ends(of("x"), true, func() {})
			a.born = time.Now().Add(time.Hour)
			l.ended(a, false, "")
		}, account{sent: 3, failed: 3}, "although its origin lives"},
		{"kept, in any order", func(l *ledger, a, b *party, m []string) {
			l.keeps = true
			l.ends(of("x"), false, func() { l.ended(b, false, said) })
			later := &party{user: b.user, domain: b.domain}
			l.delivered(later, m[2])
			l.delivered(later, m[0])
			l.acked(m[1])
		}, account{sent: 3, moved: 2, open: 1}, ""},
		{"ended without a word", func(l *ledger, a, b *party, m []string) {
			l.keeps = true
			l.ends(of("x"), false, func() { l.ended(a, false, "") })
		}, account{sent: 3, failed: 3}, "without a condition"},
		{"sent again to an origin that forgets", func(l *ledger, a, b *party, m []string) {
			l.forgets = true
			l.resent(b)
			l.delivered(b, m[1])
		}, account{sent: 3, delivered: 1, died: 2}, ""},
		{"kept, and twice", func(l *ledger, a, b *party, m []string) {
			l.keeps = true
			l.ends(of("x"), false, func() { l.ended(b, false, said) })
			later := &party{user: b.user, domain: b.domain}
			l.delivered(later, m[2])
			l.delivered(later, m[2])
		}, account{sent: 3, moved: 1, open: 2}, "twice"},
		{"kept by nobody, as the answers were lost", func(l *ledger, a, b *party, m []string) {
			l.keeps = true
			l.ends(of("x"), false, func() { l.ended(b, true, said) })
			l.acked(m[1])
		}, account{sent: 3, died: 1, open: 2}, ""},
		{"kept for one that was killed", func(l *ledger, a, b *party, m []string) {
			l.keeps = true
			l.ends(of("x"), false, func() { l.ended(b, false, said) })
			l.acked(m[1])
			l.ends(of("x"), true, func() { l.ended(&party{user: b.user, domain: b.domain}, false, said) })
		}, account{sent: 3, died: 1, open: 2}, ""},
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
