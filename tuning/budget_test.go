package tuning

import (
	"strings"
	"testing"

	"megaphone/fdtable"
)

// TestBudgetAddsUp compares the budget with its lines, with measurements, and with the knobs for the same bytes.
func TestBudgetAddsUp(t *testing.T) {
	const n = 1_000_000
	b := NewBudget(n)
	var each, total uint64
	kernel, user := uint64(0), uint64(0)
	for _, l := range b.Lines {
		each += l.BytesPerSocket
		total += l.TotalBytes
		switch l.Where {
		case "kernel":
			kernel += l.BytesPerSocket
		case "user":
			user += l.BytesPerSocket
		default:
			t.Errorf("%s is in the %q", l.Name, l.Where)
		}
		if l.TotalBytes != l.BytesPerSocket*n+l.FixedBytes || l.TotalBytes == 0 || l.Why == "" {
			t.Errorf("%+v", l)
		}
	}
	if each != b.BytesPerSocket || total != b.TotalBytes || total != each*n+processBytes {
		t.Errorf("%d a socket and %d in all, but the lines have %d and %d", b.BytesPerSocket, b.TotalBytes, each, total)
	}
	if kernel != kernelIdleBytes+kernelQueueBytes || user != userBytes {
		t.Errorf("kernel %d, user %d", kernel, user)
	}
	// Measured: a million connections over loopback took 8.1 GB of the kernel's memory for both ends, and 141 bytes
	// each of a process; 30,000 held requests took 110.
	if measured := 8.1e9 / 2e6; kernelIdleBytes < 0.95*measured || kernelIdleBytes > 1.05*measured {
		t.Errorf("%d bytes an idle socket, measured were %.0f", kernelIdleBytes, measured)
	}
	if userBytes < 110 || userBytes > 2*141 {
		t.Errorf("%d bytes of the edge a connection, measured were 110 to 141", userBytes)
	}
	// A socket with anything queued is charged a page, and the kernel starts to save at that point.
	if _, pressure, _ := tcpPagesFor(n); pressure*kernelQueueBytes != n*kernelQueueBytes {
		t.Errorf("the budget has a page a socket, tcp_mem %d", pressure)
	}
	// The read buffers suffice for the number of reactors that a million takes under a limit of 20,000.
	if tables := fdtable.MinTables(n, 20_000-fdtable.UsualLayout.Private()); tables > BudgetReactors {
		t.Errorf("%d reactors, the budget has %d", tables, BudgetReactors)
	}
	// A machine of 24 GiB holds a million with both ends of each connection.
	if NewBudget(2*n).TotalBytes > 24<<30*9/10 {
		t.Errorf("two million sockets take %d bytes", NewBudget(2*n).TotalBytes)
	}
	for _, k := range memoryKnobs(newHost(fakeHost(nil), Need{Sockets: n})) {
		if k.Name == "MemAvailable" && !strings.HasPrefix(k.Formula, "N x 8199 bytes + 64 MiB") {
			t.Errorf("the formula says %q", k.Formula)
		}
	}
	if b.BytesPerSocket != 8199 || processBytes != 64<<20 {
		t.Errorf("%d and %d: say so in the formula of MemAvailable and in tune.sh", b.BytesPerSocket, processBytes)
	}
}
