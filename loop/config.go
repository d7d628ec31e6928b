package loop

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/loop/sys"
)

// Tables sets whether each reactor gets its own descriptor table (see the package documentation).
type Tables uint8

const (
	TablesAuto Tables = iota // private only if RLIMIT_NOFILE is too low for MaxConnections in one table
	TablesOn
	TablesOff
)

// ParseTables parses a mode of the configuration: auto, on or off.
func ParseTables(s string) (Tables, error) {
	switch s {
	case "", "auto":
		return TablesAuto, nil
	case "on":
		return TablesOn, nil
	case "off":
		return TablesOff, nil
	}
	return TablesAuto, fmt.Errorf("%q is not auto, on or off", s)
}

const (
	// TickMillis is the wheel's unit. Connection timeouts are several seconds long, so a tenth is fine enough. Ten
	// wake-ups a second and reactor cost nothing.
	TickMillis = 100

	DefaultMaxConnections   = 100_000
	DefaultMaxOutputBytes   = 1 << 20 // unsent bytes of one connection: four replies of the largest usual size
	DefaultMaxBufferedBytes = 256 << 20
	defaultAcceptPerTurn    = 128 // a flood of connections must not starve existing clients
	defaultBacklog          = 65535
	ReadBufferBytes         = 64 << 10

	// DefaultKeepAlive is the idle time before a connection is probed. One probe per socket every two minutes is 8,000
	// packets a second for a million sockets.
	DefaultKeepAlive = 2 * time.Minute

	// refusalSlots are connection slots beyond the maximum, used to answer and drain refused clients.
	refusalSlots = fdtable.RefusalSlots

	drainTicks     = 30_000 / TickMillis // a closing connection is closed after this time without output progress
	lingerTicks    = 2_000 / TickMillis  // and this time after its output has left, if its peer does not close
	maxLingerBytes = 1 << 20
)

// Config describes the reactors of one process. The zero value of a field means the documented default.
type Config struct {
	Listen           []Listener    // at most MaxListeners
	AcceptLater      bool          // accept no connections before Group.Accept
	Reactors         int           // 0: one per core, or as many private tables as MaxConnections needs
	MaxConnections   int           // over all reactors
	Links            int           // links per reactor for which descriptors are reserved; see Group.LinkRoom
	Tables           Tables        // private descriptor tables
	MaxOutputBytes   int           // unsent bytes of one connection; further output beyond it closes the connection
	MaxBufferedBytes int           // kept for all connections of one reactor; beyond it the heaviest are shed
	AcceptPerTurn    int           // connections that one event accepts
	Backlog          int           // of listen(2); the kernel lowers it to net.core.somaxconn
	Refusals         [][]byte      // a refused client gets a random one of these
	KeepAlive        time.Duration // TCP keep-alive: idle time before the first probe, default DefaultKeepAlive
	Log              *slog.Logger  // default slog.Default(); written only by the goroutine of a logqueue
	ManualTicks      bool          // no clock: time moves by Group.Advance (tests)
}

// plan is a validated configuration with defaults filled in and sizes computed.
type plan struct {
	Config
	private     bool
	slots       int // maximum connections of a reactor
	fds         int // size of the index from descriptor to slot
	links       int // links per reactor for which descriptors are reserved, however many clients there are
	acceptBelow int // clients get only descriptors below this
}

// limitNoFile returns RLIMIT_NOFILE's soft limit: the size of one descriptor table.
func limitNoFile() (int, error) {
	var rl unix.Rlimit
	if err := sys.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		return 0, fmt.Errorf("getrlimit(RLIMIT_NOFILE): %w", err)
	}
	return int(min(rl.Cur, math.MaxInt32)), nil
}

// resolve fills in the defaults and sets reactors and descriptor tables, given limit descriptors per table.
func (c Config) resolve(limit int) (plan, error) {
	p := plan{Config: c}
	setDefault(&p.MaxConnections, DefaultMaxConnections)
	setDefault(&p.MaxOutputBytes, DefaultMaxOutputBytes)
	setDefault(&p.MaxBufferedBytes, DefaultMaxBufferedBytes)
	setDefault(&p.AcceptPerTurn, defaultAcceptPerTurn)
	setDefault(&p.Backlog, defaultBacklog)
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
	if err := p.lay(limit); err != nil {
		return p, err
	}
	// The kernel hands out the lowest descriptor first, so a number never exceeds the count of open descriptors.
	p.fds = min(limit, 2*p.MaxConnections+p.layout(maxLinks).Shared()+4096)
	p.acceptBelow = min(p.fds, p.layout(p.links).AcceptBelow(limit, p.private))
	return p, nil
}

func (p *plan) layout(links int) fdtable.Layout {
	return fdtable.Layout{Reactors: p.Reactors, Listeners: max(1, len(p.Listen)), Links: links}
}

// lay decides on private descriptor tables and sizes, given limit descriptors per table. It reserves descriptors for at
// least Links links of each reactor, and for as many more as there is room for.
func (p *plan) lay(limit int) error {
	if need := p.layout(p.Links).Private() + 1; limit < need {
		return fmt.Errorf("RLIMIT_NOFILE is %d: at least %d are needed; raise it with `ulimit -n` or LimitNOFILE=",
			limit, need)
	}
	asked := p.Reactors
	if asked == 0 {
		p.Reactors = sys.Processors()
	}
	room := limit - p.layout(p.Links).Shared()
	p.private = p.Tables == TablesOn || p.Tables == TablesAuto && p.MaxConnections > room
	if !p.private {
		if p.MaxConnections > room {
			return fmt.Errorf("max-connections is %d but RLIMIT_NOFILE lets one descriptor table hold %d: raise "+
				"it with `ulimit -n`, lower max-connections, or set descriptor-tables to auto", p.MaxConnections, room)
		}
		p.slots = fdtable.Share(p.MaxConnections, p.Reactors)
		p.links = min(p.Links+(room-p.MaxConnections)/p.Reactors, max(maxLinks, p.Links))
		return nil
	}
	if asked == 0 {
		p.Reactors = max(p.Reactors, p.layout(p.Links).Tables(p.MaxConnections, limit))
	}
	p.slots = fdtable.Share(p.MaxConnections, p.Reactors)
	room = limit - p.layout(p.Links).Private()
	switch {
	case p.slots > room:
		return fmt.Errorf("max-connections is %d: %d reactors with a descriptor table of %d each are too few, "+
			"%d are needed", p.MaxConnections, p.Reactors, room, fdtable.MinTables(p.MaxConnections, room))
	case p.layout(0).Ordinary() > limit:
		return fmt.Errorf("RLIMIT_NOFILE is %d: %d reactors need %d for their listeners; raise it with `ulimit -n` or "+
			"LimitNOFILE=, or lower max-connections", limit, p.Reactors, p.layout(0).Ordinary())
	}
	p.links = min(p.Links+room-p.slots, max(maxLinks, p.Links))
	return nil
}

// Check returns the error with which Start would fail because of this process's descriptor limit.
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
