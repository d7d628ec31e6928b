package link

import (
	"cmp"
	"crypto/rand"

	"megaphone/codec/frame"
)

const protocolVersion = 1

// shakeHands sends the origin's hello, waits for the edge's, and welcomes the edge. It leaves the bytes behind the
// edge's hello in b.
func (l *edgeLink) shakeHands(b *batch) fault {
	s := l.server
	own := frame.Hello{Version: protocolVersion, Name: s.cfg.Name, Max: s.cfg.MaxContentsBytes,
		TakesQuery: s.cfg.TakesQuery}
	if s.cfg.Streams != nil {
		own.Streams, own.Window = true, s.cfg.WindowBytes
	}
	if s.cfg.OwnsSessions {
		own.Instance, own.Age = s.instance, s.age()
	}
	rand.Read(own.Nonce[:]) // never fails: it ends the program instead
	line := frame.AppendHello(nil, &own)
	if !l.say(line) {
		return faultIO
	}
	for {
		f, n, ok, err := frame.Parse(b.buf, frame.MaxHandshakeBytes)
		switch {
		case err != nil:
			l.found, l.first = frame.Foreign(b.buf), frame.Quoted(b.buf)
			return faultGrammar
		case ok:
			if fault := l.meet(&f, line); fault != faultNone {
				return fault
			}
			b.buf = b.buf[:copy(b.buf, b.buf[n:])]
			return faultNone
		}
		if fault, ok := l.fill(b, n); !ok {
			return fault
		}
	}
}

// age returns for how many milliseconds the server has existed, rounded up.
func (s *Server) age() int {
	return int(min(s.clock.now()-s.started+1, frame.MaxAge))
}

// meet checks the edge's hello and answers it. own is the origin's hello line.
func (l *edgeLink) meet(f *frame.Frame, own []byte) fault {
	if f.ID != 0 {
		return faultEarly
	}
	verb, args, rest, ok, err := frame.NextLine(f.Contents)
	switch {
	case err != nil || !ok:
		return faultGrammar
	case string(verb) == "error":
		return faultPeer
	case string(verb) != "hello" || len(rest) > 0:
		return faultEarly
	}
	if l.hello, err = frame.ParseHello(args); err != nil {
		return faultGrammar
	}
	l.name = l.hello.Name
	if l.hello.Max == 0 { // the hello has no max
		l.hello.Max = frame.MaxContentsBytes
	}
	l.hello.Max = min(l.hello.Max, frame.MaxContentsBytes)
	l.hello.Streams = l.hello.Streams && l.server.cfg.Streams != nil
	l.hello.Window = cmp.Or(l.hello.Window, frame.DefaultWindowBytes)
	if l.hello.Version != protocolVersion {
		return faultVersion
	}
	var w frame.Welcome
	if secret := l.server.cfg.Secret; len(secret) > 0 {
		theirs := frame.Unproved(f.Contents)
		want := frame.LinkProof(secret, frame.EdgeHello, own, theirs)
		switch {
		case l.hello.HasMAC && !l.hello.HasProof:
			return faultOldProof
		case !l.hello.HasProof || !frame.MACEqual(&want, &l.hello.Proof):
			return faultSecret
		}
		w.Proof = frame.LinkProof(secret, frame.OriginWelcome, own, theirs, frame.AppendWelcome(nil, &w))
		w.HasProof = true
	}
	if fault := l.server.door.pass(l); fault != faultNone {
		return fault
	}
	if !l.say(frame.AppendWelcome(nil, &w)) {
		return faultIO
	}
	return faultNone
}

// say sends a control line from the reader's goroutine, before a writer exists. It never blocks, because the kernel
// buffers these few lines.
func (l *edgeLink) say(line []byte) bool {
	n, err := l.conn.Write(frame.Append(nil, 0, line))
	l.server.writes.Add(1)
	l.server.bytesOut.Add(int64(n))
	return err == nil
}

// opened announces the link to the engine.
func (l *edgeLink) opened() {
	s := l.server
	s.links[l] = struct{}{}
	l.present = true
	l.live = make(map[uint64]struct{})
	s.stats.Links++
	s.stats.Welcomed++
	s.log.Info("link opened", "edge", l.name, "address", l.conn.RemoteAddr())
	if s.draining {
		l.control("drain\n")
	}
}
