package load

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// schema is the version of the report's fields. Fields may be added, but are never renamed or redefined.
const schema = 1

// Report is the result of a run. Names of fields end with their unit; a name without one is a count.
type Report struct {
	Schema      int       `json:"schema"`
	Version     string    `json:"version"` // of megaphone
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`     // from the first session's beginning to the last one's end
	Interrupted bool      `json:"interrupted"` // stopped early; messages in flight do not count as lost then
	Verdict     Verdict   `json:"verdict"`
	Options     Options   `json:"options"`

	Sessions  Sessions           `json:"sessions"`
	Messages  Messages           `json:"messages"`
	Requests  map[string]uint64  `json:"requests"` // connections, requests, polls, resent, responses, ...
	Errors    map[string]uint64  `json:"errors"`   // failures on the way; a repeated request is no loss
	Latencies map[string]Latency `json:"latencies"`
	Phases    []Phase            `json:"phases"`
	Storm     *StormReport       `json:"storm,omitempty"`
	Streams   *StreamReport      `json:"websockets,omitempty"` // of a run over WebSocket
	Processes []ProcessReport    `json:"processes"`            // this one first
	Timeline  []Point            `json:"timeline"`             // one per second
}

// Options are the options of the run.
type Options struct {
	Target            string    `json:"target"`
	Transport         Transport `json:"transport"`
	TLS               string    `json:"tls,omitempty"` // kind of handshakes
	Scenario          Scenario  `json:"scenario"`
	Then              string    `json:"then,omitempty"`
	Login             Login     `json:"login"`
	Domain            string    `json:"domain"`
	Retry             string    `json:"retry"`
	Sessions          int       `json:"sessions"`
	RatePerSecond     float64   `json:"rate_per_second"`
	WaitSeconds       int       `json:"wait_seconds"`
	MessagesPerSecond float64   `json:"messages_per_second"`
	SizeBytes         int       `json:"size_bytes"`
	Part              float64   `json:"part"` // fraction of the sessions that a broadcast is for
	DurationSeconds   float64   `json:"duration_seconds"`
	Reactors          int       `json:"reactors"`
	PrivateTables     bool      `json:"private_descriptor_tables"`
}

// Sessions counts the sessions by their fate. Wanted = Reached + Failed + those not begun or not finished.
type Sessions struct {
	Wanted   uint64 `json:"wanted"`
	Started  uint64 `json:"started"` // creations begun, including those after churn and storm
	Reached  uint64 `json:"reached"` // were up once
	Failed   uint64 `json:"failed"`  // given up before they were up
	Lost     uint64 `json:"lost"`    // ended unasked
	Ended    uint64 `json:"ended"`   // ended by this program
	Held     uint64 `json:"held"`    // were up at the end of the scenario, before they left
	Away     uint64 `json:"away"`    // were not up then, because their WebSockets had not come back
	MostHeld uint64 `json:"most_held"`
	Sockets  uint64 `json:"most_sockets"`
}

// Messages accounts for the messages. Sent = Delivered + Lost + UnderWay.
type Messages struct {
	Sent       uint64 `json:"sent"`
	Delivered  uint64 `json:"delivered"` // each counted once
	Lost       uint64 `json:"lost"`
	UnderWay   uint64 `json:"under_way"`  // in an interrupted run: neither delivered nor known to be lost
	Duplicated uint64 `json:"duplicated"` // came again
	Reordered  uint64 `json:"reordered"`  // came later than a younger one of the same author to the same reader
	Misplaced  uint64 `json:"misplaced"`  // came to the wrong session
	Bounced    uint64 `json:"bounced"`    // returned to their author; they also count as lost
	Foreign    uint64 `json:"foreign"`    // from another run, as from a server's offline storage
	Unsent     uint64 `json:"unsent"`     // of a broadcast that ended before all of it was sent
	Unsendable uint64 `json:"unsendable"` // were due, but no eligible pair of sessions was found
}

// Latency is a distribution. The histogram has steps of one percent.
type Latency struct {
	Count        int64   `json:"count"`
	MinMicros    int64   `json:"min_us"`
	MeanMicros   float64 `json:"mean_us"`
	P50Micros    int64   `json:"p50_us"`
	P90Micros    int64   `json:"p90_us"`
	P99Micros    int64   `json:"p99_us"`
	P999Micros   int64   `json:"p999_us"`
	LongestMicro int64   `json:"max_us"`

	// TailMicros is the latency at each 20th of a nine: element k is the quantile 1 - 10^(-k/20). It ends where a
	// single event is beyond, and at six nines.
	TailMicros []int64 `json:"tail_us"`
}

// TailSteps is the number of elements of TailMicros for each nine.
const TailSteps = 20

func newLatency(h *hdrhistogram.Histogram) Latency {
	return Latency{
		Count: h.TotalCount(), MinMicros: h.Min(), MeanMicros: round(h.Mean()), P50Micros: h.ValueAtQuantile(50),
		P90Micros: h.ValueAtQuantile(90), P99Micros: h.ValueAtQuantile(99), P999Micros: h.ValueAtQuantile(99.9),
		LongestMicro: h.Max(), TailMicros: tail(h),
	}
}

func tail(h *hdrhistogram.Histogram) (micros []int64) {
	nines := min(max(math.Log10(float64(h.TotalCount())), 1), 6)
	for k := 0; float64(k) <= nines*TailSteps; k++ {
		micros = append(micros, h.ValueAtQuantile(100*(1-math.Pow(10, -float64(k)/TailSteps))))
	}
	return micros
}

// Phase is a part of the run: opening, the scenario's own name, settling, returning (of WebSockets), leaving.
type Phase struct {
	Name       string             `json:"name"`
	At         float64            `json:"at_seconds"`
	Seconds    float64            `json:"seconds"`
	Counts     map[string]uint64  `json:"counts"`      // the increments in this phase
	CPUSeconds map[string]float64 `json:"cpu_seconds"` // of each process
	Note       string             `json:"note,omitempty"`
}

// StormReport describes how the sessions came back.
type StormReport struct {
	Connections     uint64  `json:"connections_lost"`
	RecoverySeconds float64 `json:"recovery_seconds"` // from the first failure until all sessions were back
	Recovered       bool    `json:"recovered"`
	Renewed         uint64  `json:"sessions_renewed"` // sessions unknown to the server, which began anew

	// Arrivals in each tenth of a second, from At on: clients that retried or logged in, and all requests. The share is
	// that of the sessions that came in the busiest tenth.
	At       float64  `json:"at_seconds"`
	Clients  []uint32 `json:"clients_per_tenth"`
	Requests []uint32 `json:"requests_per_tenth"`
	Back     []uint32 `json:"back_per_tenth"` // sessions that were back
	Most     uint32   `json:"most_clients_in_a_tenth"`
	Share    float64  `json:"most_share"`
}

// StreamReport describes the WebSockets of a run.
type StreamReport struct {
	Opened  uint64 `json:"opened"` // handshakes answered 101
	Most    uint64 `json:"most_open"`
	Pings   uint64 `json:"pings"`       // of the server, each answered
	Resumed uint64 `json:"resumed"`     // sessions that another WebSocket has continued (XEP-0198)
	Refused uint64 `json:"not_resumed"` // and those that the server had forgotten

	// Closes counts the WebSockets that have ended, by the code of the server's close frame; 1006: without one. Those
	// of sessions that leave have 1000.
	Closes map[string]uint64 `json:"closes"`
}

// ProcessReport is the resource usage of a process.
type ProcessReport struct {
	Name            string  `json:"name"`
	PID             int     `json:"pid"`
	CPUSeconds      float64 `json:"cpu_seconds"`
	RSSBytes        uint64  `json:"rss_bytes"` // at the end of the scenario; so are the next two
	AnonBytes       uint64  `json:"rss_anon_bytes"`
	PSSBytes        uint64  `json:"pss_bytes"`      // 0: not readable
	BaseRSSBytes    uint64  `json:"base_rss_bytes"` // before the first session; so is the next
	BaseAnonBytes   uint64  `json:"base_rss_anon_bytes"`
	MostRSSBytes    uint64  `json:"most_rss_bytes"`
	BytesPerSession float64 `json:"bytes_per_session"` // the growth of RSS, divided by the sessions held
	Error           string  `json:"error,omitempty"`
}

// Point is the state at one second. Latencies cover that second, and are 0 if it has none.
type Point struct {
	Seconds    float64            `json:"seconds"`
	Phase      string             `json:"phase"`
	Sessions   uint64             `json:"sessions"` // up
	Sockets    uint64             `json:"sockets"`
	Waiting    uint64             `json:"waiting"`   // sessions in a back-off
	Requests   uint64             `json:"requests"`  // so far
	Delivered  uint64             `json:"delivered"` // so far
	Errors     uint64             `json:"errors"`    // so far
	P50Micros  map[string]int64   `json:"p50_us"`
	P99Micros  map[string]int64   `json:"p99_us"`
	RSSBytes   map[string]uint64  `json:"rss_bytes"`
	AnonBytes  map[string]uint64  `json:"rss_anon_bytes"`
	CPUPercent map[string]float64 `json:"cpu_percent"` // of one core
}

// Encode writes the report as JSON.
func (r *Report) Encode(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// round rounds to three decimals.
func round(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }
