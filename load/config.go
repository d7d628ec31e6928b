package load

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scenario is the work of the sessions once all are up.
type Scenario string

const (
	Ramp      Scenario = "ramp"      // open all sessions at a rate, nothing else
	Hold      Scenario = "hold"      // then poll for a time
	Chat      Scenario = "chat"      // then send messages between random pairs for a time
	Broadcast Scenario = "broadcast" // then send one message to every session at once
	Churn     Scenario = "churn"     // then end and open sessions at a rate for a time
	Storm     Scenario = "storm"     // then wait until the edge is restarted, and come back all at once
)

// scenarios lists all scenarios in the order of the documentation.
var scenarios = []Scenario{Ramp, Hold, Chat, Broadcast, Churn, Storm}

// Login is the extent of a session's XMPP log-in.
type Login string

const (
	LoginNone      Login = "none"      // a bare BOSH session that only polls
	LoginAnonymous Login = "anonymous" // SASL ANONYMOUS, restart, bind
	LoginPlain     Login = "plain"     // SASL PLAIN as one of UserPrefix1, UserPrefix2, ...; restart, bind
	LoginScram     Login = "scram"     // the same with SASL SCRAM-SHA-1: half of its work is the client's
)

// logins lists all log-ins.
var logins = []Login{LoginNone, LoginAnonymous, LoginPlain, LoginScram}

// Transport is the way of the sessions to the server.
type Transport string

const (
	BOSH      Transport = "bosh"      // XEP-0124, XEP-0206: long polls
	WebSocket Transport = "websocket" // RFC 7395, with stream management (XEP-0198) where the server offers it
)

const (
	defaultSessions   = 1000
	defaultRate       = 1000 // sessions per second
	defaultWait       = 60   // seconds; the value of Strophe.js
	defaultMessages   = 100  // per second
	defaultSize       = 120  // bytes of text: a sentence
	defaultDuration   = 30 * time.Second
	defaultConnecting = 1024
	defaultUserPrefix = "load"
	defaultSettle     = 10 * time.Second // in addition to the wait
	defaultPatience   = 20 * time.Second
	defaultTries      = 12 // over a minute and a half

	maxSessions = 1 << 26
	maxSize     = 64 << 10
	// maxDuration keeps a run's stamps within 32 bits; see stamp.
	maxDuration = 10 * time.Hour
	maxWait     = 3600
)

// Config configures one run. A zero field selects its default.
type Config struct {
	Target      string    // http://host:port/path, or https://; of a WebSocket ws:// or wss://
	Transport   Transport // default by the target
	Scenario    Scenario  // default hold
	Then        string    // scenarios for the same sessions after hold or chat, comma-separated: chat=2m,broadcast
	Sessions    int
	Rate        float64       // sessions opened per second; in churn, ended and reopened per second
	Wait        int           // BOSH: seconds that the server is asked to hold a request
	Messages    float64       // per second, over all sessions
	Size        int           // bytes of a message's text, at least minSize
	Part        float64       // fraction of the sessions that get a broadcast; default 1: all
	Duration    time.Duration // of the scenario after the opening; in broadcast and storm its limit
	Settle      time.Duration // messages count as lost after this long without an arrival; default wait + 10 s
	Patience    time.Duration // how late an answer may be, beyond the wait
	Tries       int           // with retryLoad: per request; of a WebSocket's connection with any retry
	Retry       string        // reaction to a failure; a comma-separated list is assigned to sessions in turn
	Login       Login         // default none
	TLS         Encryption    // of an https or wss target; default full
	CA          string        // PEM file of certificates to verify the target with; default: no verification
	Domain      string        // default the target's host; localhost for a loopback address
	UserPrefix  string        // the n-th session logs in as prefix followed by n, from 1
	Password    string        // default "secret"
	Presence    bool          // send presence after binding
	LeaveRate   float64       // sessions ended per second at the end; default Rate
	Opening     int           // concurrent log-ins, over all reactors, including presence; 0: no limit
	Connecting  int           // concurrent connection attempts, over all reactors
	Sources     []netip.Addr  // local addresses to connect from; default: many for a loopback target, else the kernel's
	Reactors    int           // 0: one per core, or as many as descriptor tables need
	Abandon     bool          // leave the sessions open at the end, for the server to time out
	Trigger     string        // storm: a shell command that restarts edge or origin, run when all sessions are held
	Processes   []Process     // processes whose memory and CPU time to record, besides this one
	AllowPublic bool          // permit targets that are neither loopback nor private
	Version     string        // of the program, for the report
	Log         *slog.Logger  // default slog.Default()
}

// Process is a process to watch.
type Process struct {
	Name string
	PID  int
}

// WithDefaults returns c with every zero field set to its default, except those that depend on the target.
func (c Config) WithDefaults() Config {
	setDefault(&c.Scenario, Hold)
	setDefault(&c.Transport, transportOf(c.Target))
	setDefault(&c.Login, LoginNone)
	setDefault(&c.TLS, TLSFull)
	setDefault(&c.Sessions, defaultSessions)
	setDefault(&c.Rate, defaultRate)
	setDefault(&c.LeaveRate, c.Rate)
	setDefault(&c.Wait, defaultWait)
	setDefault(&c.Messages, defaultMessages)
	setDefault(&c.Size, defaultSize)
	setDefault(&c.Part, 1)
	setDefault(&c.Duration, defaultDuration)
	setDefault(&c.Settle, time.Duration(c.Wait)*time.Second+defaultSettle)
	setDefault(&c.Patience, defaultPatience)
	setDefault(&c.Tries, defaultTries)
	setDefault(&c.Retry, string(retryLoad))
	setDefault(&c.UserPrefix, defaultUserPrefix)
	setDefault(&c.Password, "secret")
	setDefault(&c.Connecting, defaultConnecting)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate returns an error with the first invalid key, its value and a remedy. Call WithDefaults first.
func (c Config) Validate() error {
	switch {
	case c.Target == "":
		return fmt.Errorf("target: give the URL of a BOSH endpoint, for example http://127.0.0.1:5280/http-bind, " +
			"or of a WebSocket, ws://127.0.0.1:5280/xmpp-websocket")
	case c.Transport != BOSH && c.Transport != WebSocket:
		return fmt.Errorf("transport: %s: use %s or %s", c.Transport, BOSH, WebSocket)
	case strings.Contains(c.Target, "://") && c.Transport != transportOf(c.Target):
		return fmt.Errorf("transport: %s: the target is %s, but the URL of %s", c.Transport, c.Target,
			map[Transport]string{BOSH: "BOSH begins with http:// or https://",
				WebSocket: "a WebSocket begins with ws:// or wss://"}[c.Transport])
	case !slices.Contains(scenarios, c.Scenario):
		return fmt.Errorf("scenario: %s: use one of %s", c.Scenario, join(scenarios))
	case !slices.Contains(logins, c.Login):
		return fmt.Errorf("login: %s: use one of %s", c.Login, join(logins))
	case !slices.Contains(encryptions, c.TLS):
		return fmt.Errorf("tls: %s: use one of %s", c.TLS, join(encryptions))
	case c.messaging() && c.Login == LoginNone:
		return fmt.Errorf("scenario: %s: needs sessions that can receive messages: use a --login other than none",
			c.Scenario)
	case c.messaging() && c.Scenario != Broadcast && c.Sessions < 2:
		return fmt.Errorf("sessions: %d: a chat needs two or more", c.Sessions)
	case c.Trigger != "" && c.Scenario != Storm:
		return fmt.Errorf("trigger: is for the scenario storm only")
	case c.Duration < time.Second || c.Duration > maxDuration:
		return fmt.Errorf("duration: %s: use 1s to %s", c.Duration, maxDuration)
	case c.Settle < time.Second || c.Settle > 2*time.Hour:
		return fmt.Errorf("settle: %s: use 1s to 2h", c.Settle)
	case c.Patience < time.Second || c.Patience > time.Hour:
		return fmt.Errorf("patience: %s: use 1s to 1h", c.Patience)
	case strings.ContainsAny(c.Domain+c.UserPrefix, "'\"<>& @/"):
		return fmt.Errorf("domain, user-prefix: %s, %s: leave out spaces and '\"<>&@/", c.Domain, c.UserPrefix)
	case strings.ContainsRune(c.Password, 0):
		return fmt.Errorf("password: has a zero byte")
	}
	list, err := parseRetries(c.Retry)
	switch {
	case err != nil:
		return err
	case c.Transport == WebSocket && slices.Contains(list, retryLibpurple):
		return fmt.Errorf("retry: %s: libpurple has no WebSocket: use another", c.Retry)
	}
	if _, err := c.steps(); err != nil {
		return err
	}
	for _, f := range []struct {
		key           string
		value, lo, hi float64
	}{
		{"sessions", float64(c.Sessions), 1, maxSessions},
		{"rate", c.Rate, 0.01, 1e6},
		{"leave-rate", c.LeaveRate, 0.01, 1e6},
		{"wait", float64(c.Wait), 1, maxWait},
		{"messages", c.Messages, 0.01, 1e6},
		{"size", float64(c.Size), float64(minSize), maxSize},
		{"part", c.Part, 1e-6, 1},
		{"tries", float64(c.Tries), 1, 255},
		{"opening", float64(c.Opening), 0, maxSessions},
		{"connecting", float64(c.Connecting), 1, 1 << 20},
		{"reactors", float64(c.Reactors), 0, 4096},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("%s: %s: use %s to %s", f.key, plain(f.value), plain(f.lo), plain(f.hi))
		}
	}
	if most := time.Duration(float64(c.Sessions) / c.Rate * float64(time.Second)); most > maxDuration {
		return fmt.Errorf("rate: %v: %d sessions would take %s: use a higher rate", c.Rate, c.Sessions, most)
	}
	return nil
}

// plain formats a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// messaging reports whether the scenario sends messages.
func (c *Config) messaging() bool {
	return c.Scenario == Chat || c.Scenario == Broadcast || strings.Contains(c.Then, string(Chat)) ||
		strings.Contains(c.Then, string(Broadcast))
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}
