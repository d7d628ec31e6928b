package table

import (
	"reflect"
	"runtime"
	"testing"
)

// TestSlotsHoldNoPointers ensures that the garbage collector skips the tables.
func TestSlotsHoldNoPointers(t *testing.T) {
	var flat func(what string, typ reflect.Type)
	flat = func(what string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		case reflect.Array:
			flat(what, typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				flat(what+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		default:
			t.Errorf("%s is a %v", what, typ.Kind())
		}
	}
	flat("Conn", reflect.TypeFor[Conn]())
	flat("Hold", reflect.TypeFor[Hold]())
}

// TestBytesPerHold pins the recorded base: 64 + 24 bytes for a connection with one hold, all allocated by the
// constructors, and next to nothing besides the slots. Raise it only with a reason in doc.go.
func TestBytesPerHold(t *testing.T) {
	const base, n = ConnBytes + HoldBytes, 1 << 18
	if ConnBytes != 64 || HoldBytes != 24 {
		t.Errorf("slots of %d and %d bytes, want 64 and 24", ConnBytes, HoldBytes)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conns, holds := NewConns(n), NewHolds(n)
	w := NewWheel(conns, 1)
	for range n {
		i, _ := conns.Alloc()
		holds.Park(conns.At(i), i, 1)
		w.Arm(i, 1+i)
	}
	runtime.ReadMemStats(&after)
	got := float64(after.TotalAlloc-before.TotalAlloc) / n
	t.Logf("%.3f bytes a connection with a hold", got)
	if got > base+0.2 { // The rest: the wheel, and rounding up to whole pages.
		t.Errorf("%.3f bytes a connection with a hold, base is %d", got, base)
	}
	if holds.Len() != n || w.len() != n {
		t.Errorf("%d holds, %d armed, want %d", holds.Len(), w.len(), n)
	}
}

func TestNothingAllocates(t *testing.T) {
	const n = 100
	conns, holds := NewConns(n), NewHolds(n)
	w := NewWheel(conns, 0)
	now := uint32(0)
	allocs := testing.AllocsPerRun(200, func() {
		for k := range uint32(n) {
			i, _ := conns.Alloc()
			c := conns.At(i)
			h, _, _ := holds.Park(c, i, now)
			w.Arm(i, now+1+k*k*k)
			if holds.Resolve(h) == nil {
				t.Fatal("a parked hold does not resolve")
			}
		}
		for conns.len() > 0 {
			now += 1000
			w.Advance(now)
			for i, ok := w.Expired(); ok; i, ok = w.Expired() {
				if _, ok := conns.resolve(conns.handle(i)); !ok {
					t.Fatal("an expired connection does not resolve")
				}
				holds.Pop(conns.At(i))
				conns.Free(i)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a run, want 0", allocs)
	}
}
