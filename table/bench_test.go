package table

import "testing"

// benchConns is a reactor's share of a million connections on a machine with 50 reactors.
const benchConns = 20_000

// BenchmarkParkPop parks and releases one hold on each connection in turn, as an edge at full load does.
func BenchmarkParkPop(b *testing.B) {
	conns, holds := NewConns(benchConns), NewHolds(benchConns)
	for range benchConns {
		conns.Alloc()
	}
	b.ReportAllocs()
	i := uint32(1)
	for b.Loop() {
		c := conns.At(i)
		h, _, _ := holds.Park(c, i, 1)
		if holds.Resolve(h) == nil {
			b.Fatal("stale")
		}
		holds.Pop(c)
		if i++; i > benchConns {
			i = 1
		}
	}
}

// BenchmarkAllocFree accepts and closes.
func BenchmarkAllocFree(b *testing.B) {
	conns := NewConns(benchConns)
	b.ReportAllocs()
	for b.Loop() {
		i, _ := conns.Alloc()
		conns.Free(i)
	}
}

// BenchmarkWheelArm re-arms one connection after another with a timeout of 600 ticks, as each request does. Time
// advances by a tick every 100 of them.
func BenchmarkWheelArm(b *testing.B) {
	conns, w := armed(0, make([]uint32, benchConns)...)
	b.ReportAllocs()
	i, now, n := uint32(1), uint32(0), 0
	for b.Loop() {
		w.Arm(i, now+600)
		if i++; i > benchConns {
			i = 1
		}
		if n++; n == 100 {
			n = 0
			now++
			w.Advance(now)
		}
	}
	if w.len() > conns.len() {
		b.Fatal("more armed than there are")
	}
}

// BenchmarkWheelExpire lets every connection expire after 600 ticks: arm, scatter, pop. The figure is per connection.
func BenchmarkWheelExpire(b *testing.B) {
	_, w := armed(0, make([]uint32, benchConns)...)
	w.Advance(1)
	b.ReportAllocs()
	now := uint32(1)
	for b.Loop() {
		i, ok := w.Expired()
		for !ok {
			now++
			w.Advance(now)
			i, ok = w.Expired()
		}
		w.Arm(i, now+600)
	}
}

// BenchmarkWheelIdleTick measures a tick on which nothing expires.
func BenchmarkWheelIdleTick(b *testing.B) {
	_, w := armed(0, maxTicks)
	now := uint32(0)
	for b.Loop() {
		now++
		w.Advance(now)
	}
}

// BenchmarkWheelLongSleep measures the longest possible step, which must not visit each tick.
func BenchmarkWheelLongSleep(b *testing.B) {
	_, w := armed(0)
	now := uint32(0)
	for b.Loop() {
		now += maxTicks
		w.Advance(now)
	}
}
