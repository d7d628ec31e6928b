package load

// report returns the report of a run whose reactors have stopped.
func (r *run) report(interrupted bool) *Report {
	c := r.counts()
	for _, w := range r.workers {
		w.meters.drain(&r.totals)
	}
	cfg := &r.cfg
	rep := &Report{
		Schema: schema, Version: cfg.Version, Started: r.started.UTC(), Seconds: round(r.elapsed().Seconds()),
		Interrupted: interrupted,
		Options: Options{
			Target: cfg.Target, Scenario: cfg.Scenario, Then: cfg.Then, Part: cfg.Part, Login: cfg.Login,
			Domain: cfg.Domain, Transport: cfg.Transport, Retry: cfg.Retry, TLS: r.encryption(),
			Sessions: cfg.Sessions, RatePerSecond: cfg.Rate, WaitSeconds: cfg.Wait,
			DurationSeconds: cfg.Duration.Seconds(), Reactors: r.group.Reactors(), PrivateTables: r.group.Private(),
		},
		Sessions: Sessions{
			Wanted: uint64(cfg.Sessions), Started: c[cStarted], Reached: c[cReached], Failed: c[cFailed],
			Lost: c[cLost], Ended: c[cEnded], Held: r.held, Away: r.missing,
			MostHeld: r.most.held, Sockets: r.most.sockets,
		},
		Messages: Messages{
			Sent: c[cSent], Delivered: c[cDelivered], Duplicated: c[cDuplicated], Reordered: c[cReordered],
			Misplaced: c[cMisplaced], Bounced: c[cBounced], Foreign: c[cForeign], Unsent: r.unsent,
			Unsendable: c[cUnsendable],
		},
		Requests: map[string]uint64{}, Errors: map[string]uint64{}, Latencies: map[string]Latency{},
		Phases: r.phases, Storm: r.storm, Processes: r.used, Timeline: r.points,
	}
	if cfg.messaging() {
		rep.Options.SizeBytes = cfg.Size
	}
	if cfg.Scenario == Chat {
		rep.Options.MessagesPerSecond = cfg.Messages
	}
	if missing := c[cSent] - c[cDelivered]; interrupted {
		rep.Messages.UnderWay = missing
	} else {
		rep.Messages.Lost = missing
	}
	for k, name := range counterNames {
		if k >= cRefused {
			rep.Errors[name] = c[k]
		} else {
			rep.Requests[name] = c[k]
		}
	}
	if cfg.Transport == WebSocket {
		rep.Streams = r.streams(&c)
	}
	for i, h := range r.totals {
		if h.TotalCount() > 0 {
			rep.Latencies[meterNames[i]] = newLatency(h)
		}
	}
	rep.Verdict = judge(rep)
	return rep
}

// streams returns the figures of WebSockets.
func (r *run) streams(c *[numCounters]uint64) *StreamReport {
	s := &StreamReport{Opened: c[cStreams], Most: r.most.streams, Pings: c[cPings], Resumed: c[cContinued],
		Refused: c[cNotContinued], Closes: map[string]uint64{}}
	for k, name := range closeNames {
		if c[k] > 0 {
			s.Closes[name] = c[k]
		}
	}
	return s
}
