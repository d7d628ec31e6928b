package table

import "testing"

// wheelModel is a simple model of the wheel: a list of deadlines that is searched whole. It counts time in 64 bits, so
// that it shares none of the wheel's arithmetic about wrapping.
type wheelModel struct {
	now   uint64
	armed map[uint32]uint64
	due   map[uint32]bool
}

func newWheelModel(now uint64) *wheelModel {
	return &wheelModel{now: now, armed: map[uint32]uint64{}, due: map[uint32]bool{}}
}

func (m *wheelModel) arm(i uint32, deadline uint64) {
	if uint32(deadline) == 0 {
		deadline++
	}
	m.armed[i] = deadline
	delete(m.due, i)
}

func (m *wheelModel) disarm(i uint32) {
	delete(m.armed, i)
	delete(m.due, i)
}

func (m *wheelModel) advance(now uint64) {
	m.now = max(m.now, now)
	for i, deadline := range m.armed {
		if deadline <= m.now {
			m.due[i] = true
		}
	}
}

// wheelRun drives a wheel and its model by one script.
type wheelRun struct {
	t     *testing.T
	s     *script
	conns *Conns
	w     *Wheel
	m     *wheelModel
}

func runWheel(t *testing.T, s *script, capacity int, start uint64) {
	conns := NewConns(capacity)
	r := &wheelRun{t: t, s: s, conns: conns, w: NewWheel(conns, uint32(start)), m: newWheelModel(start)}
	for range capacity {
		conns.Alloc()
	}
	for !s.done() {
		if s.byte()%4 == 0 {
			step := s.span()
			r.w.Advance(uint32(r.m.now + step))
			r.m.advance(r.m.now + step)
			r.drain()
		} else {
			r.change()
		}
	}
	for i := uint32(1); int(i) <= capacity; i++ {
		r.compare(i)
	}
}

// change arms or disarms a connection, or replaces it by a new one.
func (r *wheelRun) change() {
	i := uint32(1 + r.s.below(r.conns.Cap()))
	switch r.s.byte() % 8 {
	case 0, 1:
		r.w.Disarm(i)
		r.m.disarm(i)
	case 2:
		r.w.Disarm(i)
		r.m.disarm(i)
		r.conns.Free(i)
		if j, ok := r.conns.Alloc(); !ok || j != i {
			r.t.Fatalf("Alloc = %d, %v, only %d is free", j, ok, i)
		}
	case 3: // already passed, or now
		deadline := r.m.now - r.s.span()
		r.w.Arm(i, uint32(deadline))
		r.m.arm(i, deadline)
	default:
		deadline := r.m.now + r.s.span()
		r.w.Arm(i, uint32(deadline))
		r.m.arm(i, deadline)
	}
	r.compare(i)
}

func (r *wheelRun) compare(i uint32) {
	r.t.Helper()
	deadline, armed := r.m.armed[i]
	if got := r.conns.At(i).Deadline; got != uint32(deadline) || armed != (got != 0) {
		r.t.Fatalf("connection %d: Deadline %d, want %d", i, got, uint32(deadline))
	}
	if r.w.len() != len(r.m.armed) || r.w.now != uint32(r.m.now) {
		r.t.Fatalf("Len %d, Now %d, want %d, %d", r.w.len(), r.w.now, len(r.m.armed), uint32(r.m.now))
	}
}

// drain pops expired connections. The script makes changes inside the loop, and sometimes leaves it early.
func (r *wheelRun) drain() {
	for {
		if r.s.byte()%64 == 1 {
			return
		}
		i, ok := r.w.Expired()
		if ok != (len(r.m.due) > 0) {
			r.t.Fatalf("tick %d: Expired returned %v, due are %v", r.m.now, ok, r.m.due)
		}
		if !ok {
			return
		}
		if !r.m.due[i] {
			r.t.Fatalf("tick %d: connection %d expired, its deadline is %d", r.m.now, i, r.m.armed[i])
		}
		r.m.disarm(i)
		r.compare(i)
		for r.s.byte()%2 == 1 {
			r.change()
		}
	}
}

func TestWheelAgainstNaive(t *testing.T) {
	const turn = uint64(1) << 32 // model time starts one turn of the counter in, so that the past is not negative
	for _, test := range []struct {
		name  string
		conns int
		start uint64
	}{
		{"from zero", 30, turn},
		{"one connection", 1, turn + 1000},
		{"end of level 0", 30, turn + 63},
		{"end of the levels", 30, turn + 1<<wheelBits - 1},
		{"half of the circle", 30, turn + 1<<31 - 5},
		{"before the wrap", 30, 2*turn - 3},
		{"many", 1000, 2*turn - 1<<20},
	} {
		t.Run(test.name, func(t *testing.T) {
			runWheel(t, randomScript(t, 60_000), test.conns, test.start)
		})
	}
}

// TestWheelExact tries deadlines around the ends of all levels from starts around the ends of all levels. None expires
// one tick early, however time gets there, and each expires on its tick.
func TestWheelExact(t *testing.T) {
	edges := []uint32{1, 2, 62, 63, 64, 65, 100, 4095, 4096, 4097, 1<<18 - 1, 1 << 18, 1<<18 + 1, 1<<24 - 1, 1 << 24,
		1<<24 + 1, 1 << 30, maxTicks - 1, maxTicks}
	starts := []uint32{0, 1, 63, 64, 4095, 1<<18 - 1, 1<<24 - 1, 1 << 24, 1<<31 - 1, 1 << 31, 1<<32 - 4097,
		1<<32 - 64, 1<<32 - 1}
	for _, start := range starts {
		for _, ahead := range edges {
			deadline := start + ahead
			if deadline == 0 {
				continue // becomes tick 1, see TestWheelTickZero
			}
			for _, stop := range []uint32{0, 1, ahead / 2, ahead &^ 63, ahead - 1} {
				conns := NewConns(1)
				i, _ := conns.Alloc()
				w := NewWheel(conns, start)
				w.Arm(i, deadline)
				for _, at := range []uint32{min(stop, ahead-1), ahead - 1} {
					w.Advance(start + at)
					if _, ok := w.Expired(); ok {
						t.Fatalf("start %d, ahead %d, at +%d: expired early", start, ahead, at)
					}
				}
				w.Advance(deadline)
				if got, ok := w.Expired(); !ok || got != i {
					t.Fatalf("start %d, ahead %d: not expired on its tick", start, ahead)
				}
			}
		}
	}
}
