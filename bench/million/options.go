package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"megaphone/bench/trials"
	"megaphone/internal/typed"
	"megaphone/load"
)

// options holds the flags. Its exported fields are written to the results.
type options struct {
	Sessions []int         `json:"sessions"`
	Rate     float64       `json:"rate_per_second"`
	Wait     int           `json:"wait_seconds"`
	Messages float64       `json:"messages_per_second"` // 0: one for each thousand sessions
	Duration time.Duration `json:"duration_ns"`
	Login    string        `json:"login"`
	GOGC     int           `json:"origin_gogc"`
	Storm    time.Duration `json:"storm_ns"` // 0: no storm
	Retry    string        `json:"retry"`
	TLS      string        `json:"tls,omitempty"`

	Transport load.Transport `json:"transport"`
	Idle      time.Duration  `json:"idle_ns"` // before the talk; 0: no such phase
	files     trials.Flags
}

// defaultIdle has two pings of the edge to each WebSocket.
const defaultIdle = 2*time.Minute + 10*time.Second

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench-million.sh", flag.ExitOnError)
	sessions := fs.String("sessions", "1000000", "numbers of sessions, comma-separated: a trial for each")
	fs.Var(typed.RateOr(&o.Rate, 20_000), "rate", "sessions opened a second, if the machine can")
	fs.Var(typed.IntOr(&o.Wait, 60), "wait", "`seconds` that the origin is asked to hold a request")
	fs.Var(typed.RateOr(&o.Messages, 0), "messages", "messages a second; 0: one for each thousand sessions")
	fs.DurationVar(&o.Duration, "duration", 2*time.Minute, "how long they talk")
	fs.StringVar(&o.Login, "login", "anonymous",
		"anonymous, plain, or none: bare BOSH sessions, which only poll, to see what connecting costs")
	fs.Var(typed.IntOr(&o.GOGC, 30), "origin-gogc",
		"`percent` of garbage that the origin collects at: less is less memory and more work (Go's default is 100)")
	fs.DurationVar(&o.Storm, "storm", 0,
		"in place of talk, kill the origin, start it again after this `time`, and see how all sessions come back")
	fs.StringVar(&o.Retry, "retry", "strophe,stanza", "storm: what sessions do after a failure; see megaphone load")
	fs.StringVar(&o.TLS, "tls", "", "clients come by https, with handshakes of this `kind`: full, resume (both TLS "+
		"1.3), 1.2 or 1.2-resume; by default they come by http")
	transport := fs.String("transport", string(load.BOSH), "of the sessions: bosh or websocket")
	fs.DurationVar(&o.Idle, "idle", defaultIdle, "websocket: how long they are held before they talk, to see what "+
		"idle ones cost; 0: not at all; bosh has no such phase")
	o.files.Define(fs, "bench-million")
	if err := trials.Parse(fs, args); err != nil {
		return nil, err
	}
	var err error
	if o.Sessions, err = trials.ParseSessions(*sessions); err != nil {
		return nil, err
	}
	if o.Transport = load.Transport(*transport); o.Transport == load.BOSH || o.Storm > 0 {
		o.Idle = 0 // sessions of BOSH poll, and are never idle
	}
	switch {
	case o.Transport != load.BOSH && o.Transport != load.WebSocket:
		return nil, fmt.Errorf("transport: %s: use bosh or websocket", o.Transport)
	case o.Transport == load.WebSocket && o.Login == string(load.LoginNone):
		return nil, errors.New("login: none: the origin ends streams that do not log in: use anonymous or plain")
	case o.Idle < 0 || o.Idle > 0 && o.Idle < time.Second:
		return nil, fmt.Errorf("idle: %s: use 0, or 1s or more", o.Idle)
	case o.Rate <= 0:
		return nil, errors.New("rate: use more than 0")
	case o.Messages < 0:
		return nil, errors.New("messages: use 0 or more")
	case o.Duration < time.Second:
		return nil, fmt.Errorf("duration: %s: use 1s or more", o.Duration)
	case o.Wait < 1 || o.Wait > 3600:
		return nil, fmt.Errorf("wait: %d: use 1 to 3600", o.Wait)
	case o.Storm < 0:
		return nil, fmt.Errorf("storm: %s: use 0 or more", o.Storm)
	case o.Storm > 0 && o.Login == "none":
		return nil, errors.New("storm: sessions have to log in: use --login anonymous or plain")
	case o.GOGC < 1:
		return nil, fmt.Errorf("origin-gogc: %d: use 1 or more", o.GOGC)
	}
	return o, nil
}

func (o *options) messages(n int) float64 {
	if o.Messages > 0 {
		return o.Messages
	}
	return max(1, float64(n)/1000)
}

// Two cores open at least so many sessions a second, and deliver so many messages of a broadcast.
const (
	slowOpening   = 4_000
	slowBroadcast = 10_000
)

// expect is about how long a trial takes.
func (o *options) expect(n int) time.Duration {
	seconds := float64(n)/min(o.Rate, slowOpening) + float64(n)/slowBroadcast
	if o.Storm > 0 {
		seconds = 2*float64(n)/min(o.Rate, slowOpening) + o.Storm.Seconds()
	}
	return 10*time.Second + o.Idle + o.Duration + time.Duration(seconds*float64(time.Second))
}

// deadline is when a trial is given up: it waits for nothing without end.
func (o *options) deadline(n int) time.Duration {
	return 5*time.Minute + 3*o.expect(n) + 2*time.Duration(o.Wait)*time.Second
}
