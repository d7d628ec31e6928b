package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// meter names a measured latency.
type meter uint8

const (
	// From the beginning of a connection attempt to the connection.
	mConnect meter = iota
	// From there to the end of the TLS handshake.
	mHandshake
	// From the creation request to the reply with the session ID; of a WebSocket from the beginning of its connection
	// to the server's <open/>.
	mCreation
	// From the creation request until the session is logged in and has a resource, or has resumed.
	mLogin
	// From the moment at which a held request became due to its answer. It becomes due when its wait ends or a newer
	// request of the session is sent.
	mRelease
	// From the sending of a message to its receipt, through the server.
	mDelivery
	// From the beginning of a broadcast to a session's receipt of it.
	mBroadcast
	// Over WebSocket: from the sending of a stanza to its acknowledgement.
	mAck
	// In a storm: from a ping of a session that is back to the answer.
	mBack
	// From the request that ends a session to its answer.
	mEnd
	numMeters
)

// meterNames are the names in the report.
var meterNames = [numMeters]string{"connect", "handshake", "creation", "login", "release", "delivery", "broadcast",
	"acknowledgement", "back", "end"}

// A histogram covers the longest run in steps of one percent: 26 KiB.
const (
	maxMeterMicros = int64(maxDuration / time.Microsecond)
	meterDigits    = 2
)

// meters are the histograms, in microseconds, of one worker or of all together.
type meters [numMeters]*hdrhistogram.Histogram

func newMeters() (m meters) {
	for i := range m {
		m[i] = hdrhistogram.New(1, maxMeterMicros, meterDigits)
	}
	return m
}

func (m *meters) record(which meter, d time.Duration) {
	_ = m[which].RecordValue(min(max(d.Microseconds(), 1), maxMeterMicros)) // no error within the bounds
}

// drain moves the contents of m to another meters.
func (m *meters) drain(to *meters) {
	for i, h := range m {
		if h.TotalCount() > 0 {
			to[i].Merge(h)
			h.Reset()
		}
	}
}
