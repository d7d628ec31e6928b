package takeover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The model: two processes, the socket between them, and everything that may happen to them at every step. A delay is a
// process that does not take its next step; a stopped process cannot. The walk explores all interleavings breadth
// first, so a counterexample is a shortest one.

type life uint8

const (
	running life = iota
	stopped      // SIGSTOP, a machine that is moved, a log that blocks
	crashed
	exited
)

// process is the part that both have in common. The actions of a step are carried out one by one: a process may crash
// between any two.
type process struct {
	state   uint8
	todo    [6]Action
	left    uint8
	life    life
	talks   bool // its end of the socket is open
	accepts bool
	drains  bool
	path    bool // it has takeover-socket
	ended   bool // it has been told to exit
}

func (p *process) alive() bool  { return p.life == running || p.life == stopped }
func (p *process) serves() bool { return p.alive() && p.accepts }
func (p *process) idle() bool   { return p.life == running && p.left == 0 }

// word is a packet. The listeners, which precede the offer, decide nothing, and are left out.
type word uint8

const (
	ask word = iota
	offered
	serving
	leaving
	alone
	refused
)

var wordEvents = [...]Event{ask: Asked, offered: Offered, serving: Served, leaving: Left, alone: Confirmed,
	refused: Refused}

type queue struct {
	words [6]word
	n     uint8
}

func (q *queue) push(w word) { q.words[q.n], q.n = w, q.n+1 }
func (q *queue) pop() (w word) {
	w, q.n = q.words[0], q.n-1
	copy(q.words[:], q.words[1:])
	q.words[len(q.words)-1] = 0
	return w
}

// world is a complete, comparable state of the model.
type world struct {
	p, s     process
	toP, toS queue
	asks     uint8 // number of times that the successor asked
	alone    bool  // the successor served alone at some point
	unable   bool  // the successor could not start or accept, which no hand-over can help
	yielded  bool  // the successor withdrew while its predecessor served
	wrong    string
}

// rules are the two state machines, and the other decisions of the code.
type rules struct {
	p, s          func(state uint8, e Event) (uint8, []Action)
	oldP, oldS    bool // a process of version 0.1; see oldPredecessor
	noLastLook    bool // reports Failed although the socket would yield Gone
	noPathEnds    bool // a successor without takeover-socket exits
	trustsRefusal bool // of a process that has exited since
}

// Actions of version 0.1.
const (
	oldLeave     Action = 100 + iota // send leaving, and drain if that succeeded; else continue
	oldStop                          // stop serving; the socket is closed last
	oldTakePaths                     // or exit
)

// Events of version 0.1 are the current ones; its states are those of these machines.
func oldPredecessor(state uint8, e Event) (uint8, []Action) {
	switch s := PredecessorState(state); {
	case s == Offering && e == Served:
		return uint8(Leaving), []Action{FreePaths, oldLeave}
	case s == Leaving && e != Ended:
		return state, nil
	}
	return newPredecessor(state, e)
}

func oldSuccessor(state uint8, e Event) (uint8, []Action) {
	switch s := SuccessorState(state); {
	case s == Asking && e == Gone:
		return uint8(Withdrawn), []Action{oldStop, HangUp, EndEdge}
	case s == Linking && (e == Gone || e == Refused): // it does not listen
		return state, nil
	case s == Beside && (e == Gone || e == Refused || e == Failed || e == Ended):
		return uint8(Withdrawn), []Action{oldStop, HangUp, EndEdge}
	case s == Beside && e == Left:
		return uint8(Alone), []Action{oldTakePaths}
	}
	return newSuccessor(state, e)
}

func newPredecessor(state uint8, e Event) (uint8, []Action) {
	next, todo := PredecessorState(state).next(e)
	return uint8(next), todo
}

func newSuccessor(state uint8, e Event) (uint8, []Action) {
	next, todo := SuccessorState(state).next(e)
	return uint8(next), todo
}

func begin() world {
	w := world{p: process{accepts: true, path: true, talks: true}, s: process{talks: true}, asks: 1}
	w.toP.push(ask)
	return w
}

// move is one possible event, by name.
type move struct {
	name string
	to   world
}

// moves returns all possible events in w.
func (r *rules) moves(w world) (all []move) {
	do := func(name string, f func(w *world)) {
		to := w
		f(&to)
		if to.wrong == "" {
			to.wrong = r.check(&w, &to)
		}
		all = append(all, move{name, to})
	}
	for i, name := range []string{"predecessor", "successor"} {
		of := func(w *world) *process { return []*process{&w.p, &w.s}[i] }
		x := of(&w)
		if !x.alive() {
			continue
		}
		do(name+" crashes", func(w *world) { *of(w) = process{state: x.state, life: crashed, ended: x.ended} })
		if x.life == stopped {
			do(name+" is resumed", func(w *world) { of(w).life = running })
			continue
		}
		do(name+" is stopped", func(w *world) { of(w).life = stopped })
		if x.drains && x.left == 0 {
			do(name+" has drained", func(w *world) { w.exit(of(w)) })
		}
	}
	if w.p.life == running && w.p.left > 0 {
		r.actP(&w, do)
	} else if w.p.idle() {
		r.eventsP(&w, do)
	}
	if w.s.life == running && w.s.left > 0 {
		r.actS(&w, do)
	} else if w.s.idle() {
		r.eventsS(&w, do)
	}
	return all
}

func (w *world) exit(x *process) { *x = process{state: x.state, life: exited, ended: x.ended} }

func (x *process) step(next func(uint8, Event) (uint8, []Action), e Event) {
	state, todo := next(x.state, e)
	x.state, x.left = state, uint8(copy(x.todo[:], todo))
	x.ended = x.ended || e == Ended
}

func (x *process) take() (a Action) {
	a, x.left = x.todo[0], x.left-1
	copy(x.todo[:], x.todo[1:])
	x.todo[len(x.todo)-1] = 0
	return a
}

func (r *rules) eventsP(w *world, do func(string, func(*world))) {
	event := func(name string, e Event) {
		do("predecessor: "+name, func(w *world) { w.p.step(r.p, e) })
	}
	state := PredecessorState(w.p.state)
	switch {
	case !w.p.talks:
	case w.toP.n > 0:
		do("predecessor reads", func(w *world) { w.p.step(r.p, wordEvents[w.toP.pop()]) })
	case !w.s.talks:
		event("gone", Gone)
	case r.oldS && state == Leaving && w.s.path:
		event("its path is the successor's", Confirmed)
	}
	if state == Offering {
		event("late", Failed)
	}
	if !w.p.ended {
		event("told to end", Ended)
	}
}

func (r *rules) eventsS(w *world, do func(string, func(*world))) {
	event := func(name string, e Event) {
		do("successor: "+name, func(w *world) { w.s.step(r.s, e) })
	}
	state := SuccessorState(w.s.state)
	gone := w.s.talks && w.toS.n == 0 && !w.p.talks
	switch {
	case !w.s.talks || r.oldS && state == Linking:
	case gone:
		event("gone", Gone)
	case w.toS.n > 0:
		do("successor reads", func(w *world) {
			e := wordEvents[w.toS.pop()]
			if e == Refused && !w.p.path && !r.trustsRefusal && !r.oldS {
				e = Gone
			}
			w.s.step(r.s, e)
		})
	}
	if state == Linking {
		event("linked", Linked)
	}
	if (!gone && (w.p.talks || w.toS.n == 0) || r.noLastLook || r.oldS) && state != Alone && state != Withdrawn {
		event("late", Failed)
	}
	if !w.s.ended {
		event("told to end", Ended)
	}
}

func (r *rules) actP(w *world, do func(string, func(*world))) {
	act := func(name string, f func(w *world)) {
		do("predecessor "+name, func(w *world) {
			w.p.take()
			f(w)
		})
	}
	send := func(name string, p word) {
		act(name, func(w *world) {
			if w.s.talks {
				w.toS.push(p)
			}
		})
	}
	switch a := w.p.todo[0]; a {
	case SendOffer:
		send("offers", offered)
		do("predecessor has no descriptors for an offer", func(w *world) { w.p.step(r.p, Failed) })
	case SendRefusal:
		send("refuses", refused)
		act("cannot even say that it refuses", func(*world) {})
	case SendLeaving:
		send("says that it leaves", leaving)
	case HangUp:
		act("hangs up", func(w *world) { w.p.talks, w.toP = false, queue{} })
	case FreePaths:
		act("frees its path", func(w *world) {
			w.p.path = false
			if w.toP.n > 0 && w.toP.words[0] == ask { // a process that waits to be accepted is hung up on
				w.p.talks, w.toP = false, queue{}
			}
		})
	case TakePaths:
		act("takes its path", func(w *world) { w.p.path = !w.s.path })
		act("cannot take its path", func(*world) {})
	case DrainEdge:
		act("drains", func(w *world) { w.p.accepts, w.p.drains = false, true })
	case oldLeave:
		act("says that it leaves, and drains if it could", func(w *world) {
			w.p.talks = false
			if w.s.talks {
				w.toS.push(leaving)
				w.p.state, w.p.accepts, w.p.drains = uint8(Retired), false, true
				return
			}
			w.p.state, w.p.path = uint8(Available), !w.s.path
		})
	default:
		panic(fmt.Sprintf("the predecessor has no action %d", a))
	}
}

func (r *rules) actS(w *world, do func(string, func(*world))) {
	act := func(name string, f func(w *world)) {
		do("successor "+name, func(w *world) {
			w.s.take()
			f(w)
		})
	}
	fail := func(name string) {
		act(name, func(w *world) {
			w.unable = true
			w.exit(&w.s)
		})
	}
	send := func(name string, p word) {
		act(name, func(w *world) {
			if w.p.talks {
				w.toP.push(p)
			}
		})
	}
	switch a := w.s.todo[0]; a {
	case SendServing:
		send("says that it serves", serving)
	case SendAlone:
		send("confirms", alone)
	case HangUp:
		act("hangs up", func(w *world) { w.s.talks, w.toS = false, queue{} })
	case TakePaths:
		act("takes its path", func(w *world) { w.s.path = !w.p.path })
		act("cannot take its path", func(w *world) {
			if r.noPathEnds {
				w.exit(&w.s)
			}
		})
	case oldTakePaths:
		act("takes its path", func(w *world) { w.s.path = !w.p.path })
		act("cannot take its path, and ends", func(w *world) { w.exit(&w.s) })
	case AskAgain:
		act("asks again", askAgain)
	case StartEdge:
		act("starts", func(*world) {})
		fail("cannot start")
	case BeginServe:
		act("accepts", func(w *world) { w.s.accepts = true })
		fail("cannot accept")
	case oldStop:
		act("stops serving", func(w *world) { w.s.accepts = false })
	case DrainEdge:
		act("drains", func(w *world) { w.s.accepts, w.s.drains = false, true })
	case EndEdge:
		act("ends", func(w *world) { w.exit(&w.s) })
	default:
		panic(fmt.Sprintf("the successor has no action %d", a))
	}
}

// askAgain finds the predecessor, another end of the same, or none: then the port is free, or the start fails.
func askAgain(w *world) {
	switch {
	case w.p.path && w.asks < 3:
		w.asks++
		w.s.talks, w.s.state, w.p.talks = true, uint8(Asking), true
		w.toP.push(ask)
	case w.p.serves():
		w.unable = true
		w.exit(&w.s)
	default:
		w.s.accepts, w.s.state, w.s.path, w.alone = true, uint8(Alone), true, true
	}
}

// check returns the fault of a step from one state of the world to the next.
func (r *rules) check(from, w *world) string {
	if SuccessorState(w.s.state) == Alone && w.s.serves() && (w.s.path || !r.oldS) {
		w.alone = true
	}
	pWent := !w.p.alive() || w.p.ended
	sWent := w.s.life == crashed || w.s.ended || w.unable
	if SuccessorState(w.s.state) == Withdrawn && SuccessorState(from.s.state) != Withdrawn && !w.s.ended {
		if w.p.serves() {
			w.yielded = true
		}
		silent := from.toS.n == 0 && from.p.talks
		if SuccessorState(from.s.state) == Beside && silent && w.p.life == stopped && !r.oldS {
			return "the successor withdraws because a predecessor that is stopped says nothing"
		}
	}
	if from.s.accepts && w.s.life == exited && !r.oldS {
		return "the successor cuts its clients off"
	}
	comes := w.s.alive() && !w.s.drains && SuccessorState(w.s.state) != Withdrawn
	switch {
	case w.p.drains && !from.p.drains && !w.p.ended && !r.oldP && !w.alone:
		return "the predecessor drains, and the successor does not know that it is alone"
	case w.p.drains && !from.p.drains && !w.p.ended && !w.s.serves() && !(w.alone && sWent):
		return "the predecessor drains, and the successor does not serve"
	case w.s.drains && !from.s.drains && !w.s.ended && !w.p.serves() && !w.yielded:
		return "the successor drains, and the predecessor does not serve"
	case w.p.serves() || w.s.serves():
		return ""
	case w.p.drains && !w.p.ended && sWent || pWent && (sWent || w.yielded || comes):
		return "" // the environment took both, or the remaining process returns
	case w.p.life == exited && sWent:
		return ""
	}
	return "neither serves"
}

// settled returns the fault of a state in which nothing more happens by itself.
func (r *rules) settled(w *world) string {
	if w.s.idle() && w.toS.n == 0 && !(w.s.talks && !w.p.talks) && !w.p.serves() && !w.s.serves() && !w.s.drains {
		return "the successor waits, and neither serves"
	}
	return ""
}

// walk visits every state except those behind skipped moves. It returns the shortest way to a faulty one.
func (r *rules) walk(skip func(name string) bool) (states int, reached map[string]bool, wrong string) {
	type seen struct {
		from world
		by   string
	}
	ways := map[world]seen{begin(): {}}
	next := []world{begin()}
	reached = map[string]bool{}
	for len(next) > 0 {
		w := next[0]
		next = next[1:]
		if w.wrong == "" {
			w2 := w
			w2.wrong = r.settled(&w)
			if w2.wrong != "" {
				ways[w2] = seen{w, "and so it stays"}
				w = w2
			}
		}
		if w.wrong != "" {
			var way []string
			for at := w; ways[at].by != ""; at = ways[at].from {
				way = append([]string{ways[at].by}, way...)
			}
			return len(ways), reached, w.wrong + ":\n  " + strings.Join(way, "\n  ")
		}
		if w.p.alive() && w.s.alive() {
			reached[fmt.Sprint(w.p.state, w.s.state)] = true
		}
		for _, m := range r.moves(w) {
			if skip != nil && skip(m.name) {
				continue
			}
			if _, have := ways[m.to]; !have {
				ways[m.to] = seen{w, m.name}
				next = append(next, m.to)
			}
		}
	}
	return len(ways), reached, ""
}

// TestModel: unless the environment has taken both processes, one of them serves, and none drains unless the other
// serves, whatever crashes, stops or fails at any step. This also holds if one of them has version 0.1, except for the
// faults of that version itself.
func TestModel(t *testing.T) {
	own := func(names ...string) func(string) bool {
		return func(name string) bool { return slices.Contains(names, name) }
	}
	for _, test := range []struct {
		name  string
		rules rules
		skip  func(string) bool
	}{
		{"both of today", rules{p: newPredecessor, s: newSuccessor}, nil},
		{"from version 0.1", rules{p: oldPredecessor, s: newSuccessor, oldP: true}, nil},
		// A successor of version 0.1 exits with its predecessor.
		{"back to version 0.1", rules{p: newPredecessor, s: oldSuccessor, oldS: true},
			own("predecessor crashes", "predecessor: told to end")},
	} {
		states, reached, wrong := test.rules.walk(test.skip)
		t.Logf("%s: %d states", test.name, states)
		if wrong != "" {
			t.Errorf("%s: %s", test.name, wrong)
		}
		// The intended ends are reachable too: the hand-over, and each failed one.
		for _, end := range []string{fmt.Sprint(Retired, Alone), fmt.Sprint(Available, Withdrawn),
			fmt.Sprint(Offering, Beside)} {
			if !reached[end] {
				t.Errorf("%s: never in states %s", test.name, end)
			}
		}
	}
}

// on replaces the behaviour of a current machine in one state after one event.
func on(machine func(uint8, Event) (uint8, []Action), in uint8, at Event, to uint8,
	todo ...Action) func(uint8, Event) (uint8, []Action) {
	return func(state uint8, e Event) (uint8, []Action) {
		if state == in && e == at {
			return to, todo
		}
		return machine(state, e)
	}
}

// TestModelFindsFaults: the model can fail. It finds the protocol of version 0.1 wrong, and each of these mistakes in
// the current one.
func TestModelFindsFaults(t *testing.T) {
	p := func(in PredecessorState, at Event, to PredecessorState, todo ...Action) rules {
		return rules{p: on(newPredecessor, uint8(in), at, uint8(to), todo...), s: newSuccessor}
	}
	s := func(in SuccessorState, at Event, to SuccessorState, todo ...Action) rules {
		return rules{p: newPredecessor, s: on(newSuccessor, uint8(in), at, uint8(to), todo...)}
	}
	today := func(change func(r *rules)) rules {
		r := rules{p: newPredecessor, s: newSuccessor}
		change(&r)
		return r
	}
	version01 := rules{p: oldPredecessor, s: oldSuccessor, oldP: true, oldS: true}
	without := func(parts ...string) func(string) bool {
		return func(name string) bool {
			return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
		}
	}
	for _, test := range []struct {
		name  string
		rules rules
		skip  func(string) bool
	}{
		{"version 0.1: both leave", version01, without("crashes", "told to end", "cannot")},
		{"version 0.1: the predecessor crashes", version01,
			without("successor crashes", "late", "told to end", "cannot")},
		{"version 0.1: no takeover-socket", version01, without("crashes", "late", "told to end", "descriptors")},
		{"it drains as soon as it has said that it leaves",
			p(Offering, Served, Retired, FreePaths, SendLeaving, HangUp, DrainEdge), nil},
		{"it drains although the successor has gone", p(Leaving, Gone, Retired, HangUp, DrainEdge), nil},
		{"it drains as soon as the successor serves",
			p(Offering, Served, Retired, FreePaths, DrainEdge, SendLeaving), nil},
		{"the successor does not wait for a silent predecessor", s(Beside, Failed, Withdrawn, HangUp, DrainEdge), nil},
		{"the successor ends with its predecessor", s(Beside, Gone, Withdrawn, HangUp, DrainEdge), nil},
		{"the successor ends with its predecessor, before it accepts",
			s(Linking, Gone, Withdrawn, HangUp, EndEdge), nil},
		{"the successor does not accept when its predecessor has gone",
			s(Linking, Gone, Alone, HangUp, TakePaths), nil},
		{"the successor gives up when nobody can be asked", s(Asking, Gone, Withdrawn, HangUp, EndEdge), nil},
		{"the successor confirms before it knows", s(Linking, Linked, Beside, BeginServe, SendServing, SendAlone), nil},
		{"the successor cuts its clients off", s(Beside, Refused, Withdrawn, HangUp, EndEdge), nil},
		{"no takeover-socket, no successor", today(func(r *rules) { r.noPathEnds = true }), nil},
		{"no last look at the socket", today(func(r *rules) { r.noLastLook = true }), nil},
		{"a refusal of a process that has exited", today(func(r *rules) { r.trustsRefusal = true }), nil},
	} {
		if _, _, wrong := test.rules.walk(test.skip); wrong == "" {
			t.Errorf("%s: the model finds nothing wrong", test.name)
		} else {
			t.Logf("%s: %s", test.name, wrong)
		}
	}
}
