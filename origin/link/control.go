package link

import (
	"strconv"

	"megaphone/codec/frame"
)

// take queues a batch of whole frames behind those of earlier batches, and processes what it can.
func (l *edgeLink) take(b *batch) {
	s := l.server
	s.stats.Reads++
	s.stats.BytesIn += int64(b.end)
	l.pinged = false
	b.at = 0
	l.pending = append(l.pending, b)
	l.takePending()
}

// takePending processes frames while the link has room for their replies. It drops the frames of a link that has ended.
func (l *edgeLink) takePending() {
	if l.taking {
		return
	}
	l.taking = true
	defer func() { l.taking = false }()
	for len(l.pending) > 0 {
		b := l.pending[0]
		if l.takeFrames(b); b.at < b.end && !l.ended {
			return
		}
		l.pending = l.pending[:copy(l.pending, l.pending[1:])]
		l.free <- b // never blocks, because the batch came from there
	}
}

// resume continues a link that is no longer full. The Handler's kept replies and the pending frames go first in turn,
// because either may fill the link again.
func (l *edgeLink) resume() {
	l.roomFirst = !l.roomFirst
	if l.roomFirst {
		l.giveRoom()
	}
	l.takePending()
	if !l.roomFirst {
		l.giveRoom()
	}
}

func (l *edgeLink) giveRoom() {
	if l.present && !l.Full() {
		l.server.handler.Room(l)
		l.unblockAll()
	}
}

func (l *edgeLink) takeFrames(b *batch) {
	s := l.server
	for b.at < b.end && !l.ended && !l.Full() {
		f, n, ok, err := frame.Parse(b.buf[b.at:b.end], s.cfg.MaxContentsBytes)
		if err != nil || !ok {
			panic("link: the reader passed something that is no whole frame")
		}
		b.at += n
		s.stats.FramesIn++
		switch {
		case f.ID == 0:
			l.takeControl(f.Contents)
		case l.hello.Streams && ofStream(f.Contents):
			l.takeStream(&f)
		default:
			l.takeRequest(&f)
		}
	}
}

func (l *edgeLink) takeRequest(f *frame.Frame) {
	s := l.server
	r, err := frame.ParseRequest(f.Contents)
	if err != nil {
		l.end(faultGrammar)
		return
	}
	before := len(l.live)
	if l.live[f.ID] = struct{}{}; len(l.live) == before {
		l.end(faultDuplicate)
		return
	}
	s.stats.Live++
	s.stats.Requests++
	s.handler.Request(l, f.ID, r)
}

// takeControl processes the lines of a control frame. It ignores unknown verbs, which later versions may define.
func (l *edgeLink) takeControl(contents []byte) {
	s := l.server
	for len(contents) > 0 && !l.ended {
		verb, args, rest, ok, err := frame.NextLine(contents)
		if err != nil || !ok {
			l.end(faultGrammar)
			return
		}
		contents = rest
		switch string(verb) {
		case "gone":
			l.each(args, l.gone)
		case "release":
			if string(args) == "all" {
				s.handler.ReleaseAll(l)
			} else {
				l.each(args, l.release)
			}
		case "ping":
			if len(args) == 0 || len(args) > frame.MaxTokenBytes {
				l.end(faultGrammar)
				return
			}
			l.control("pong ", string(args), "\n")
		case "pong":
			l.takePong(args)
		case "credit":
			if l.hello.Streams {
				l.takeCredit(args)
			} else {
				s.stats.UnknownVerbs++
			}
		case "drain": // no meaning for an origin
		case "error":
			s.log.Warn("link closed by edge", "edge", l.name, "reason", string(args))
			l.end(faultPeer)
		case "hello", "welcome":
			l.end(faultGrammar)
		default:
			s.stats.UnknownVerbs++
		}
	}
}

// each calls f for each id in args, which must contain at least one.
func (l *edgeLink) each(args []byte, f func(id uint64)) {
	for n := 0; ; n++ {
		id, rest, ok, err := frame.NextID(args)
		if err != nil || !ok && n == 0 {
			l.end(faultGrammar)
			return
		}
		if !ok {
			return
		}
		args = rest
		f(id)
	}
}

// gone ends a live id whose client has disconnected.
func (l *edgeLink) gone(id uint64) {
	s := l.server
	if _, ok := l.live[id]; !ok {
		s.stats.StaleGone++
		return
	}
	delete(l.live, id)
	s.stats.Live--
	s.stats.Gone++
	s.handler.Gone(l, id)
}

func (l *edgeLink) release(id uint64) {
	if _, ok := l.live[id]; !ok {
		l.server.stats.StaleGone++
		return
	}
	l.server.handler.Release(l, id)
}

// checkLiveness ends a link that has been silent for PingTimeout, and pings one that has been silent for a third of it.
// If the engine has paused reading, or bytes are unsent, progress in sending counts as a sign of life too.
func (l *edgeLink) checkLiveness(now int64) {
	if l.ended {
		return
	}
	heard := l.heardAt.Load()
	paused := l.out.isPaused() || len(l.pending) > 0
	if paused || l.out.waits() {
		heard = max(heard, l.movedAt.Load())
	}
	timeout := l.server.cfg.PingTimeout.Milliseconds()
	switch quiet := now - heard; {
	case quiet >= timeout:
		l.end(faultTimeout)
	case l.present && !l.pinged && !paused && quiet >= timeout/3:
		l.pinged = true
		l.control("ping ", strconv.FormatInt(now, 36), "\n")
	}
}
