package edge

import (
	"net/http"
	"testing"
	"time"
)

// TestDateFollowsTheClock: the Date header follows the host's clock when it is set forward or back. Nothing else does,
// because no deadline uses it.
func TestDateFollowsTheClock(t *testing.T) {
	w := &worker{}
	start := time.Date(2026, 3, 29, 0, 59, 59, 0, time.UTC)
	for _, jump := range []time.Duration{0, time.Second, -time.Second, -20 * 365 * 24 * time.Hour, 300 * 24 * time.Hour,
		time.Nanosecond} {
		now := start.Add(jump)
		w.setDate(now.In(time.FixedZone("elsewhere", 3600)))
		if want := "Date: " + now.Format(http.TimeFormat) + "\r\n"; string(w.date) != want {
			t.Errorf("after a jump of %v: %q, want %q", jump, w.date, want)
		}
	}
}
