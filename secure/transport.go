package secure

import (
	"io"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/record"
)

// Owner owns the connections, and knows what they are for. It is called on the reactor's goroutine.
type Owner interface {
	// Handshake returns the configuration for the handshake of c, which begins now.
	Handshake(c uint32) *handshake.Config
	// Secured: the handshake of c is over. note has 27 bits and is kept with the connection, see Transport.Note.
	Secured(c uint32, r *handshake.Result) (note uint32)
	// Unsecured: c has failed, and is closed once the alert has left.
	Unsecured(c uint32, why Failure, err error)
}

// Options are the sizes of a Transport.
type Options struct {
	Connections int // the highest number of a connection
	Handshakes  int // under way at once
	Lives       int // connections that keep their AEADs, 2.5 KB each
	Client      bool
	NotTLS      []byte // the answer to a request in plaintext; nil: an alert
}

// turnBudget is how long handshakes may take per turn.
const turnBudget = time.Millisecond

// Transport is TLS on one reactor.
type Transport struct {
	r       *loop.Reactor
	owner   Owner
	options Options

	keys    slots
	words   []uint32 // per connection: stage and value
	lives   []record.Live
	mask    uint32
	answer  []byte
	last    []byte // of Close, which an owner may cause for another connection while Open has an answer
	stopped bool

	pool      *handshake.Pool
	shaking   []shaking     // by number
	free      []uint32      // numbers
	spent     time.Duration // by handshakes in this turn
	spentLate time.Duration // by those that Turn has let continue
	cost      time.Duration // of a step that may have to wait, lately
	waiting   queue         // for a worker
	delayed   queue         // for time
	ticks     uint32
}

// shaking is a handshake under way.
type shaking struct {
	worker *handshake.Worker
	conn   uint32
	since  uint32 // tick
}

// A word of a connection: its stage, in which queues it has a place, and a value.
const (
	stageNone    = iota << stageShift // next: stageHello
	stageHello                        // next: stageShaking, stageWaiting (no worker or no time), stageEnded
	stageWaiting                      // next: stageLate (see Turn), stageNone
	stageShaking                      // the value is the worker's number; next: stageDelayed, stageOpen, stageEnded
	stageDelayed                      // no time is left in this turn; the value stays; next: stageLate, stageEnded
	stageLate                         // as stageShaking, with the time of those that have waited
	stageOpen                         // the value is the owner's note; next: stageEnded (the note stays), stageNone
	stageEnded                        // nothing is opened or sealed; next: stageNone

	stageShift = 28
	stageBits  = 7 << stageShift
	inWaiting  = 1 << 31
	inDelayed  = 1 << 27
	valueBits  = 1<<27 - 1
)

// New makes a Transport for the connections of r. The caller passes it to r.SetTransport.
func New(r *loop.Reactor, owner Owner, options Options) (*Transport, error) {
	t := &Transport{r: r, owner: owner, options: options, cost: turnBudget / 8,
		pool: handshake.NewPool(options.Handshakes), waiting: queue{bit: inWaiting}, delayed: queue{bit: inDelayed}}
	var err error
	if t.keys, err = newSlots(options.Connections + 1); err != nil {
		return nil, err
	}
	t.words = make([]uint32, options.Connections+1)
	lives := 1
	for lives < options.Lives {
		lives *= 2
	}
	t.lives, t.mask = make([]record.Live, lives), uint32(lives-1)
	return t, nil
}

// Stop ends all connections and wipes their keys. The Transport is of no use afterwards.
func (t *Transport) Stop() {
	for c := range t.words {
		t.drop(uint32(c))
	}
	t.pool.Stop()
	t.stopped = true
	t.keys.release()
	t.keys = nil
}

func (t *Transport) stage(c uint32) uint32 { return t.words[c] & stageBits }

func (t *Transport) value(c uint32) uint32 { return t.words[c] & valueBits }

func (t *Transport) set(c, stage, value uint32) {
	t.words[c] = t.words[c]&(inWaiting|inDelayed) | stage | value
}

func (t *Transport) live(c uint32) *record.Live { return &t.lives[c&t.mask] }

// Note returns the owner's note of a connection whose handshake is over.
func (t *Transport) Note(c uint32) uint32 { return t.value(c) }

// Worn reports whether the keys of c have protected so many records that its owner should close it.
func (t *Transport) Worn(c uint32) bool { return t.stage(c) == stageOpen && t.keys.at(c).Worn() }

// UnderWay returns the number of handshakes under way.
func (t *Transport) UnderWay() int { return t.pool.UnderWay() }

// Waiting returns the number of connections that wait for a handshake.
func (t *Transport) Waiting() int { return t.waiting.count }

// Start begins connection c. A client sends its hello.
func (t *Transport) Start(c uint32) []byte {
	if t.stopped {
		return nil
	}
	t.keys.at(c).Clear()
	t.set(c, stageHello, 0)
	if !t.options.Client {
		return nil
	}
	if !t.pool.Free() {
		t.r.Close(c)
		return nil
	}
	t.take(c, stageShaking)
	w := t.shaking[t.value(c)].worker
	w.Begin()
	t.answer = append(t.answer[:0], w.Output()...)
	return t.answer
}

// Open takes whole records: of the handshake, and then of data.
func (t *Transport) Open(c uint32, p []byte) (o loop.Opened) {
	if t.stopped {
		return loop.Opened{End: io.EOF}
	}
	t.answer = t.answer[:0]
	switch t.stage(c) {
	case stageHello:
		if o = t.hello(c, p); t.stage(c) == stageShaking {
			o = t.shake(c, p)
		}
	case stageWaiting, stageDelayed:
		o.Wait = true
	case stageShaking, stageLate:
		if *t.spentBy(c) >= turnBudget {
			t.wait(&t.delayed, c, stageDelayed, t.value(c))
			o.Wait = true
			break
		}
		o = t.shake(c, p)
	case stageOpen:
		o = t.open(c, p)
	default:
		o.End = io.EOF
	}
	o.Answer = t.answer
	return o
}

// hello takes a worker for c if the first record of its hello is whole.
func (t *Transport) hello(c uint32, p []byte) (o loop.Opened) {
	size, why := measure(p)
	switch {
	case why != nil:
		return t.refuse(c, why)
	case size == 0:
	case t.waiting.count > 0 || !t.pool.Free() || t.spent >= turnBudget:
		t.wait(&t.waiting, c, stageWaiting, 0)
		o.Wait = true
	default:
		t.take(c, stageShaking)
	}
	return o
}

// take gives c a worker. There must be a free one.
func (t *Transport) take(c, stage uint32) {
	n := uint32(len(t.shaking))
	if last := len(t.free) - 1; last >= 0 {
		n, t.free = t.free[last], t.free[:last]
	} else {
		t.shaking = append(t.shaking, shaking{})
	}
	t.shaking[n] = shaking{t.pool.Take(t.owner.Handshake(c)), c, t.ticks}
	t.set(c, stage, n)
}

// spentBy returns the time of the turn that the next step of c is charged to.
func (t *Transport) spentBy(c uint32) *time.Duration {
	if t.stage(c) == stageLate {
		return &t.spentLate
	}
	return &t.spent
}

// shake continues the handshake of c.
func (t *Transport) shake(c uint32, p []byte) (o loop.Opened) {
	began, late := time.Now(), t.stage(c) == stageLate
	spent := t.spentBy(c)
	t.set(c, stageShaking, t.value(c))
	w := t.shaking[t.value(c)].worker
	weighs := w.Fresh() || late
	used, done := w.Step(p)
	t.answer = append(t.answer, w.Output()...)
	o.Used = used
	var err error
	if done {
		o.Ready, err = t.finish(c, w)
	}
	d := time.Since(began)
	if *spent += d; weighs {
		t.cost = max(t.cost+(d-t.cost)/8, time.Microsecond)
	}
	switch {
	case err != nil:
		o.End = err
	case o.Ready:
		next := t.open(c, p[used:])
		o.Plain = copy(p, p[used:used+next.Plain])
		o.Used += next.Used
		o.End = next.End
	}
	return o
}

// finish ends the handshake of c, whose worker is done.
func (t *Transport) finish(c uint32, w *handshake.Worker) (ready bool, err error) {
	why := Internal
	var result handshake.Result
	if err = w.Err(); err != nil {
		why = failureOf(err, t.answer)
	} else if result, err = w.Result(); err == handshake.ErrBehindFinished {
		why = BadHandshake
	} else if err == nil {
		err = t.keys.at(c).Start(&result.Secrets)
	}
	if err != nil {
		t.owner.Unsecured(c, why, err)
		t.release(c)
		t.set(c, stageEnded, 0)
		return false, err
	}
	note := t.owner.Secured(c, &result)
	t.release(c)
	t.set(c, stageOpen, note&valueBits)
	return true, nil
}

// open opens records of data.
func (t *Transport) open(c uint32, p []byte) loop.Opened {
	o := t.keys.at(c).Open(t.live(c), p, t.answer)
	t.answer = o.Answer
	switch o.End.(type) {
	case *record.Error:
		t.owner.Unsecured(c, BadRecord, o.End)
	case record.PeerAlert:
		t.owner.Unsecured(c, ByPeer, o.End)
	}
	return loop.Opened{Used: o.Used, Plain: o.Plain, End: o.End}
}

// Seal appends records. It closes a connection whose keys are worn out.
func (t *Transport) Seal(c uint32, dst, head, body []byte) []byte {
	if t.stopped || t.stage(c) != stageOpen {
		return dst
	}
	sealed, ok := t.keys.at(c).Seal(t.live(c), dst, head, body)
	if !ok {
		t.r.Close(c)
	}
	return sealed
}

// Close returns close_notify, if the handshake of c is over. If not, it ends.
func (t *Transport) Close(c uint32) []byte {
	switch {
	case t.stopped:
		return nil
	case t.stage(c) == stageOpen:
		t.last = t.keys.at(c).Close(t.live(c), t.last[:0])
		return t.last
	}
	t.leave(c)
	t.set(c, stageEnded, 0)
	return nil
}

// End releases the state of c.
func (t *Transport) End(c uint32) {
	if !t.stopped {
		t.drop(c)
	}
}

func (t *Transport) drop(c uint32) {
	if t.stage(c) != stageNone {
		t.leave(c)
		t.keys.at(c).Clear()
		t.set(c, stageNone, 0)
	}
}

// leave ends the handshake of c, if it has one or waits for one.
func (t *Transport) leave(c uint32) {
	switch t.stage(c) {
	case stageDelayed:
		t.delayed.count--
		t.release(c)
	case stageShaking, stageLate:
		t.release(c)
	case stageWaiting:
		t.waiting.count--
	}
}

// release releases the worker of c.
func (t *Transport) release(c uint32) {
	n := t.value(c)
	t.pool.Release(t.shaking[n].worker)
	t.shaking[n] = shaking{}
	t.free = append(t.free, n)
}
