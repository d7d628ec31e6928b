package loop

import (
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/tuning"
)

// Tables says whether each reactor gets a descriptor table of its own (see the package documentation).
type Tables uint8

const (
	TablesAuto Tables = iota // private only when RLIMIT_NOFILE is too low for MaxConnections in one table
	TablesOn
	TablesOff
)

// ParseTables reads the configuration's word for a mode: auto, on or off.
func ParseTables(s string) (Tables, error) {
	switch s {
	case "", "auto":
		return TablesAuto, nil
	case "on":
		return TablesOn, nil
	case "off":
		return TablesOff, nil
	}
	return TablesAuto, fmt.Errorf("%q is none of auto, on, off", s)
}

const (
	// TickMillis is the wheel's unit. Every timeout of a connection is seconds long, so a tenth is fine enough, and
	// ten wake-ups a second and reactor cost nothing.
	TickMillis = 100

	DefaultMaxConnections   = 100_000
	DefaultMaxOutputBytes   = 1 << 20 // unsent bytes of one connection: four replies of the largest usual size
	DefaultMaxBufferedBytes = 256 << 20
	DefaultAcceptPerTurn    = 128 // a flood of connections may not starve those that are there
	DefaultBacklog          = 65535
	ReadBufferBytes         = 64 << 10

	// DefaultKeepAlive is how long a connection may be silent before it is probed. A probe a socket in two minutes is
	// 8,000 packets a second for a million of them.
	DefaultKeepAlive = 2 * time.Minute

	// refusalSlots are connection slots beyond the maximum, in which a refused client is told so and drained.
	refusalSlots = 64

	drainTicks     = 30_000 / TickMillis // a closing connection's output makes no progress for so long
	lingerTicks    = 2_000 / TickMillis  // and then its peer does not close for so long
	maxLingerBytes = 1 << 20
)

// Config describes the reactors of one process. The zero value of a field means the documented default.
type Config struct {
	Listen           []Listener    //
	AcceptLater      bool          // accept nobody before Group.Accept
	Reactors         int           // 0: one a core, or as many private tables as MaxConnections needs
	MaxConnections   int           // over all reactors
	Tables           Tables        //
	MaxOutputBytes   int           // unsent bytes of one connection; what would come on top cuts the slow reader off
	MaxBufferedBytes int           // kept for all connections of one reactor; above it the asker is cut off
	AcceptPerTurn    int           //
	Backlog          int           // of listen(2); the kernel lowers it to net.core.somaxconn
	Refusals         [][]byte      // one of them is written to a client that is one too many, before it is closed
	KeepAlive        time.Duration // TCP keep-alive: idle time before the first probe, default DefaultKeepAlive
	Log              *slog.Logger  // default slog.Default(); written to by a goroutine of its own only
	ManualTicks      bool          // no clock: time moves by Group.Advance (tests)
}

// plan is a validated configuration with its defaults filled in and its sizes worked out.
type plan struct {
	Config
	private bool
	slots   int // connections a reactor may have
	fds     int // size of the index from descriptor to slot
}

// limitNoFile is RLIMIT_NOFILE's soft limit: the size of one descriptor table.
func limitNoFile() (int, error) {
	var rl unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		return 0, fmt.Errorf("getrlimit(RLIMIT_NOFILE): %w", err)
	}
	return int(min(rl.Cur, math.MaxInt32)), nil
}

// resolve fills in the defaults and decides on reactors and descriptor tables for a limit of limit descriptors a table.
func (c Config) resolve(limit int) (plan, error) {
	p := plan{Config: c}
	setDefault(&p.MaxConnections, DefaultMaxConnections)
	setDefault(&p.MaxOutputBytes, DefaultMaxOutputBytes)
	setDefault(&p.MaxBufferedBytes, DefaultMaxBufferedBytes)
	setDefault(&p.AcceptPerTurn, DefaultAcceptPerTurn)
	setDefault(&p.Backlog, DefaultBacklog)
	setDefault(&p.KeepAlive, DefaultKeepAlive)
	if p.Log == nil {
		p.Log = slog.Default()
	}
	if len(p.Listen) > MaxListeners {
		return p, fmt.Errorf("%d listeners: at most %d", len(p.Listen), MaxListeners)
	}
	if p.MaxConnections < 0 || p.Reactors < 0 {
		return p, fmt.Errorf("max-connections %d and reactors %d must be positive", p.MaxConnections, p.Reactors)
	}
	table := limit - tuning.ReservedDescriptors
	if table < 1 {
		return p, fmt.Errorf("RLIMIT_NOFILE is %d: at least %d are needed; raise it with `ulimit -n` or LimitNOFILE=",
			limit, tuning.ReservedDescriptors+1)
	}
	cores := runtime.GOMAXPROCS(0)
	p.private = p.Tables == TablesOn || p.Tables == TablesAuto && p.MaxConnections > table
	if p.Reactors == 0 {
		p.Reactors = cores
		if p.private {
			p.Reactors = max(cores, tuning.MinTables(p.MaxConnections, table))
		}
	}
	p.slots = tuning.Share(p.MaxConnections, p.Reactors)
	switch {
	case !p.private && p.MaxConnections > table:
		return p, fmt.Errorf("max-connections is %d but RLIMIT_NOFILE lets one descriptor table hold %d: raise "+
			"it with `ulimit -n`, lower max-connections, or set descriptor-tables to auto", p.MaxConnections, table)
	case p.private && p.slots > table:
		return p, fmt.Errorf("max-connections is %d: %d reactors with a descriptor table of %d each are too few, "+
			"%d are needed", p.MaxConnections, p.Reactors, table, tuning.MinTables(p.MaxConnections, table))
	}
	// Descriptors are handed out lowest first, so a number is never above the count of those that are open.
	p.fds = min(limit, 2*p.MaxConnections+4096)
	return p, nil
}

// Check returns the error with which Start would fail because of the descriptors that this process may have.
func (c Config) Check() error {
	limit, err := limitNoFile()
	if err == nil {
		_, err = c.resolve(limit)
	}
	return err
}

func setDefault[T int | time.Duration](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}
