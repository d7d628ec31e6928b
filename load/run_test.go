package load

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a run may take that normally takes seconds: a machine may be busy with other tests.
const patience = 4 * time.Minute

// try makes a short run against a fake, with little waiting.
func try(t testing.TB, f *fake, cfg Config) *Report {
	t.Helper()
	return watch(t, f, cfg, nil)
}

// watch is try with a show function.
func watch(t testing.TB, f *fake, cfg Config, show func(Status)) *Report {
	t.Helper()
	return runAt(t, f.url(), cfg, show)
}

// runAt makes a short run against a server at a URL.
func runAt(t testing.TB, url string, cfg Config, show func(Status)) *Report {
	t.Helper()
	cfg.Target = url
	cfg.Log = slog.New(slog.DiscardHandler)
	setDefault(&cfg.Sessions, 1)
	setDefault(&cfg.Wait, 1)
	setDefault(&cfg.Duration, time.Second)
	setDefault(&cfg.Settle, 2*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := Run(ctx, cfg, show)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the run did not end by itself")
	}
	return r
}

func TestHoldPollsAndLeaves(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 50, Duration: 2500 * time.Millisecond})
	if r.Verdict.Status != StatusFine {
		t.Fatalf("%+v", r.Verdict)
	}
	s := r.Sessions
	if s.Reached != 50 || s.Held != 50 || s.Ended != 50 || s.Lost+s.Failed != 0 {
		t.Errorf("sessions %+v", s)
	}
	if n := r.Requests["polls"]; n < 50 {
		t.Errorf("%d polls of 50 sessions in 2.5 s with a wait of 1 s", n)
	}
	if l := r.Latencies["release"]; l.Count == 0 {
		t.Errorf("release %+v", l)
	}
	if l := r.Latencies["end"]; l.Count != 50 {
		t.Errorf("end %+v", l)
	}
	if len(f.sessions) != 0 {
		t.Errorf("%d sessions left at the server", len(f.sessions))
	}
}

func TestChatAccountsForEveryMessage(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 40, Login: LoginAnonymous, Scenario: Chat, Messages: 200, Wait: 5, Reactors: 2})
	if r.Verdict.Status != StatusFine {
		t.Fatalf("%+v", r.Verdict)
	}
	m := r.Messages
	if m.Sent == 0 || m.Delivered != m.Sent || m.Lost+m.Duplicated+m.Reordered != 0 {
		t.Errorf("messages %+v", m)
	}
	if l := r.Latencies["delivery"]; l.Count != int64(m.Delivered) {
		t.Errorf("delivery %+v of %d messages", l, m.Delivered)
	}
}

// faults counts a relay's actions on messages.
type faults struct {
	lost, duplicated, swapped uint64
	n                         int
	back                      map[string]string // withheld until the next one to the same reader
}

// relay loses every 11th message, doubles every 7th, and delays every 5th behind the next one to the same reader.
func (k *faults) relay(to, stanza string) []string {
	k.n++
	behind, any := k.back[to]
	delete(k.back, to)
	var out []string
	switch {
	case k.n%11 == 0:
		k.lost++
	case k.n%7 == 0:
		k.duplicated++
		out = []string{stanza, stanza}
	case k.n%5 == 0 && !any:
		k.back[to] = stanza
		return nil
	default:
		out = []string{stanza}
	}
	if any {
		if len(out) > 0 {
			k.swapped++
		}
		out = append(out, behind)
	}
	return out
}

func TestLossDuplicatesAndOrderAreCountedExactly(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	k := &faults{back: map[string]string{}}
	f.relay = k.relay
	r := try(t, f, Config{Sessions: 10, Login: LoginPlain, Scenario: Chat, Messages: 500, Wait: 5, Reactors: 1,
		Duration: 2 * time.Second})
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := k.lost + uint64(len(k.back))
	m := r.Messages
	if m.Lost != lost || m.Duplicated != k.duplicated || m.Reordered != k.swapped || m.Sent != uint64(k.n) {
		t.Errorf("%+v, but of %d messages the server has lost %d, doubled %d, swapped %d", m, k.n, lost, k.duplicated,
			k.swapped)
	}
	if k.lost == 0 || k.duplicated == 0 || k.swapped == 0 {
		t.Errorf("the server has done nothing wrong: %+v", k)
	}
	if r.Verdict.Status != statusMessages {
		t.Errorf("%+v", r.Verdict)
	}
}

func TestBroadcastReachesEveryone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 300, Login: LoginAnonymous, Scenario: Broadcast, Wait: 20, Rate: 3000, Reactors: 2,
		Duration: time.Minute, Settle: 20 * time.Second, Size: 1000})
	if r.Verdict.Status != StatusFine || r.Messages.Delivered != 300 || r.Latencies["broadcast"].Count != 300 {
		t.Fatalf("%+v %+v", r.Verdict, r.Messages)
	}
}

func TestBroadcastTwiceIsNoticed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.relay = func(_, stanza string) []string { return []string{stanza, stanza} }
	r := try(t, f, Config{Sessions: 20, Login: LoginAnonymous, Scenario: Broadcast, Wait: 20, Reactors: 1,
		Duration: 20 * time.Second})
	if r.Messages.Duplicated != 20 || r.Verdict.Status != statusMessages {
		t.Fatalf("%+v %+v", r.Verdict, r.Messages)
	}
}

func TestChurnEndsAndOpens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 50, Scenario: Churn, Rate: 100, Wait: 5, Duration: 2 * time.Second})
	s := r.Sessions
	if r.Verdict.Status != StatusFine || s.Started < 60 || s.Ended != s.Started || s.Held != 50 {
		t.Fatalf("%+v %+v", r.Verdict, s)
	}
}

func TestInterruptedRunReports(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Run(ctx, Config{Target: f.url(), Sessions: 20, Wait: 1, Duration: time.Hour, Login: LoginAnonymous,
		Scenario: Chat, Log: slog.New(slog.DiscardHandler)}, func(s Status) {
		if s.Phase == string(Chat) && s.Sessions == 20 {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Verdict.Status != StatusInterrupted || r.Sessions.Reached != 20 || r.Messages.Lost != 0 {
		t.Errorf("%+v %+v", r.Verdict, r.Sessions)
	}
}

func TestBroadcastAfterAChat(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 300, Login: LoginAnonymous, Scenario: Chat, Then: "broadcast=1m", Wait: 20,
		Rate: 3000, Messages: 400, Reactors: 2, Settle: 20 * time.Second, Duration: 2 * time.Second})
	chat, all := uint64(r.Latencies["delivery"].Count), uint64(r.Latencies["broadcast"].Count)
	if r.Verdict.Status != StatusFine || chat == 0 || all != 300 || r.Messages.Delivered != chat+all {
		t.Fatalf("%+v %+v: %d of the chat and %d of the broadcast", r.Verdict, r.Messages, chat, all)
	}
	if last := r.Phases[len(r.Phases)-2]; last.Name != "broadcast" || last.Counts["delivered"] != 300 {
		t.Errorf("%+v", last)
	}
}

// TestScenariosFollowEachOther: each has its own phase, and a broadcast to a part of the sessions reaches that part.
func TestScenariosFollowEachOther(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := try(t, f, Config{Sessions: 300, Login: LoginAnonymous, Scenario: Hold, Wait: 20, Rate: 3000,
		Then: "chat=2s,broadcast=20s,hold", Messages: 400, Reactors: 2, Duration: time.Second, Part: 0.1})
	if all := r.Latencies["broadcast"].Count; r.Verdict.Status != StatusFine || all != 30 {
		t.Fatalf("%+v %+v: %d of the broadcast", r.Verdict, r.Messages, all)
	}
	names := ""
	for _, p := range r.Phases {
		names += p.Name + " "
	}
	if names != "opening hold chat settling broadcast hold 2 leaving " {
		t.Errorf("phases: %s", names)
	}
}

// TestOpeningIsBounded: with a slow server the number of pending log-ins stays within Opening.
func TestOpeningIsBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	most, now := 0, map[string]bool{} // sessions without an address, as the server sees them
	f.script = func(q *fakeRequest) *fakeAnswer {
		switch {
		case q.sid == "":
			now[q.rid] = true
		case strings.Contains(q.raw, "<presence xmlns='jabber:client'/>"):
			n, _ := strconv.Atoi(q.rid)
			delete(now, strconv.Itoa(n-4)) // the rid of its creation
		}
		most = max(most, len(now))
		return nil
	}
	f.late = func() time.Duration { return 5 * time.Millisecond }
	r := try(t, f, Config{Sessions: 60, Login: LoginAnonymous, Rate: 10_000, Presence: true, Opening: 4, Reactors: 2,
		Wait: 5, Duration: time.Second})
	if r.Verdict.Status != StatusFine || r.Sessions.Reached != 60 || most > 4 {
		t.Errorf("%+v: %d at once", r.Verdict, most)
	}
}
