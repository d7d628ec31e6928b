package load

import "time"

// stamp is a time in units of ten microseconds since the start of the run, 1 or more; 0 means none. It covers eleven
// hours.
type stamp uint32

const stampUnit = 10 * time.Microsecond

// stampAt returns the stamp of a time since the start of the run.
func stampAt(since time.Duration) stamp { return 1 + stamp(since/stampUnit) }

// since returns the time from an earlier stamp to s.
func (s stamp) since(earlier stamp) time.Duration {
	if s < earlier {
		return 0
	}
	return time.Duration(s-earlier) * stampUnit
}
