package edge

import (
	"crypto/tls"
	"log/slog"
	"strconv"

	"megaphone/codec/http1"
	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/secure"
	"megaphone/stats"
)

// encryption is the TLS of a worker's connections. It exists only if a listener has TLS.
type encryption struct {
	*secure.Transport
	w        *worker
	internal loop.Interval
	names    serverNames // also the cipher suites
	validate uint32      // the connection whose handshake was for a CA that validates a domain; it ends with it
}

// Bounds of the TLS of a process. Its reactors have equal shares.
const (
	maxHandshakes = 2000 // under way: 50 MB
	maxLives      = 1024 // connections that keep their AEADs: 2.6 MB
	minHandshakes = 16   // of a reactor
	minLives      = 16
)

// addEncryption prepares the worker for connections with TLS.
func (w *worker) addEncryption() (err error) {
	x := &encryption{w: w}
	x.Transport, err = secure.New(w.r, x, secure.Options{
		Connections: w.r.Capacity(),
		Handshakes:  max(maxHandshakes/w.r.Siblings(), minHandshakes),
		Lives:       max(maxLives/w.r.Siblings(), minLives),
		NotTLS:      w.fixed.notTLS,
	})
	if err == nil {
		w.tls = x
		w.r.SetTransport(x, x.ready)
	}
	return err
}

// ready begins the requests of a connection, whose handshake is over.
func (x *encryption) ready(index uint32) {
	c := x.w.conn(index)
	if x.validate == index {
		x.validate = 0
		x.w.counters[stats.ACMEValidations]++
		c.setPhase(phaseLast)
		x.w.r.CloseGracefully(index)
		return
	}
	x.w.enter(c, phaseIdle)
}

// notTLS is the answer to a request in plaintext on a listener with TLS.
func notTLS() []byte {
	d := plain(400, "This port takes https only. Use https:// in the URL.")
	return append(d.head.Append(nil, len(d.body), http1.ConnectionClose, anyOriginLine), d.body...)
}

// begin puts TLS under a connection whose client is known, if its listener has TLS. One that is over a limit gets no
// handshake for its refusal.
func (x *encryption) begin(c conn) {
	w := x.w
	switch {
	case w.cfg.Listeners[w.r.ListenerOf(c.index)].TLS == nil || !w.r.IsOpen(c.index):
	case w.gate != nil && w.gate.table != nil && w.gate.entries[c.index] == surplus:
		w.r.Close(c.index)
	default:
		w.enter(c, phaseHandshake)
		w.counters[stats.TLSStarted]++
		w.r.Secure(c.index)
	}
}

// Handshake returns the configuration in force for the listener of a connection.
func (x *encryption) Handshake(index uint32) *handshake.Config {
	return x.w.handshakes[x.w.r.ListenerOf(index)]
}

// Secured counts a handshake, and returns what the access log shows of it.
func (x *encryption) Secured(index uint32, r *handshake.Result) (note uint32) {
	if r.Protocol == handshake.ChallengeProtocol {
		x.validate = index
	}
	if r.Resumed {
		x.w.counters[stats.TLSResumed]++
	} else {
		x.w.counters[stats.TLSFull]++
	}
	covered, exact := x.Handshake(index).Covers(r.ServerName)
	if !covered && r.ServerName != "" {
		x.w.counters[stats.TLSUnknownNames]++
	}
	return x.names.note(r, covered, exact)
}

// Unsecured counts a failure. The connection only lingers after this, and can no longer seal an answer. So Unsecured
// drops its holds, because an origin's frame for a stream on it would look like a violation of the protocol.
func (x *encryption) Unsecured(index uint32, why secure.Failure, err error) {
	w, c := x.w, x.w.conn(index)
	if c.phase() == phaseStream {
		w.loseStream(c)
	}
	w.abandon(c)
	c.setPhase(phaseLast)
	w.counters[failureCounters[why]]++
	if why == secure.Internal {
		w.r.LogLimited(&x.internal, slog.LevelError, "TLS handshake failed inside", "error", err.Error())
	}
}

var failureCounters = [...]stats.Counter{
	secure.PlainHTTP: stats.TLSPlainHTTP, secure.NotTLS: stats.TLSNotTLS, secure.NoCommon: stats.TLSNoCommon,
	secure.ByPeer: stats.TLSByClient, secure.BadHandshake: stats.TLSBadHandshake, secure.BadRecord: stats.TLSBadRecord,
	secure.Crowded: stats.TLSTimeouts, secure.Internal: stats.TLSInternal,
}

// cutShort counts a handshake that ended with its connection.
func (x *encryption) cutShort(c conn, why loop.Cause) {
	if c.phase() == phaseHandshake && (why == loop.CausePeer || why == loop.CauseReset) {
		x.w.counters[stats.TLSAbandoned]++
	}
}

// worn reports whether a connection must end with its next response, because its keys have protected enough.
func (x *encryption) worn(index uint32) bool { return x != nil && x.Worn(index) }

// secured is what the access log shows of a connection with TLS.
type secured struct {
	suite   uint16 // 0: none
	resumed bool
	name    string // that the client has named
}

// of returns it for a connection.
func (x *encryption) of(index uint32) (s secured) {
	if x == nil {
		return s
	}
	return x.names.secured(x.Note(index))
}

// add adds it to a record.
func (s *secured) add(r *slog.Record) {
	if s.suite == 0 {
		return
	}
	version := "1.2"
	if s.suite>>8 == tls13Suites {
		version = "1.3"
	}
	r.AddAttrs(slog.String("tls", version), slog.String("cipher", tls.CipherSuiteName(s.suite)),
		slog.String("resumed", strconv.FormatBool(s.resumed)))
	if s.name != "" {
		r.AddAttrs(slog.String("server_name", s.name))
	}
}

// tls13Suites is the first byte of the cipher suites of TLS 1.3.
const tls13Suites = 0x13
