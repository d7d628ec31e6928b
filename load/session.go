package load

import "unsafe"

// sessionBytes is what one session costs in a worker's table, without its address and its connection.
const sessionBytes = 184

// Both lines fail to compile when a field makes session larger or smaller.
const (
	_ = uint(sessionBytes - unsafe.Sizeof(session{}))
	_ = uint(unsafe.Sizeof(session{}) - sessionBytes)
)

// stage is how far a session has come.
type stage uint8

const (
	// Not begun, or ended and to be begun again.
	// next: stageCreating
	stageNew stage = iota
	// The creation request is out.
	// next: stageFeatures, stageUp (login none), stageOver
	stageCreating
	// There is a sid; the server's first features have not come.
	// next: stageAuth, stageOver
	stageFeatures
	// SASL is under way.
	// next: stageRestart, stageOver
	stageAuth
	// The stream was restarted, and features are to come again.
	// next: stageBind, stageOver
	stageRestart
	// A resource is being bound.
	// next: stageUp, stageOver
	stageBind
	// It polls and may send.
	// next: stageEnding, stageOver
	stageUp
	// It has said that it ends.
	// next: stageOver
	stageEnding
	// It has ended; requests may still be out, whose answers no longer matter.
	// next: stageNew (churn and storm, when nothing is out any more)
	stageOver
)

// kind is what a request says, so that it can be written again.
type kind uint8

const (
	kindNone      kind = iota
	kindCreate         //
	kindAuth           //
	kindProof          // the answer to a challenge
	kindRestart        //
	kindBind           //
	kindPresence       //
	kindPoll           // nothing
	kindMessage        // message number seq to the partner, first sent at stamp
	kindBatch          // a broadcast's messages to the sessions from seq on, of a burst that began at stamp
	kindTerminate      //
	kindPing           // what a server answers at once
)

// noConn, as request.conn, says that it is to be sent, or sent again.
const noConn = 0

// request is one that has no answer yet.
type request struct {
	rid   uint64 // 0: none
	conn  uint32 // noConn, or the connection it is on
	at    stamp  // when it was given to the kernel; 0: not yet
	seq   uint32
	stamp stamp
}

// MaxSIDBytes is the longest session ID there is room for: that of ejabberd has 40, and an edge adds 12 or so.
const MaxSIDBytes = 79

// session is a BOSH client. It holds no pointers, so that the garbage collector never looks into a million of them.
//
// Invariant: of two requests the one in req[0] need not be the older; rid tells.
// Invariant: no two requests are on the same connection, and one on a connection is not waiting to be sent again.
type session struct {
	req  [2]request
	rid  uint64 // of the last request
	next uint32 // in the list of those that wait for the same tick: index+1; see backoffs

	partner uint32 // whom it sends messages to
	author  uint32 // who sends messages to it
	sent    uint32 // messages sent to the partner
	inbox   inbox  // messages from the author

	began stamp // of the creation
	wait  uint16
	kinds [2]kind
	tries [2]uint8
	stage stage
	flags uint8
	fails uint8 // logins that came to nothing since it was up

	sidLen uint8
	sid    [MaxSIDBytes]byte
}

// Bits of session.flags.
const (
	flagWaiting uint8 = 1 << iota // in the list of a tick
	flagGot                       // has the broadcast's message
	flagReached                   // has been up once
	flagLeaving                   // is to end as soon as a request may say so
	flagBack                      // has come back in a storm
	flagComing                    // counts in worker.coming
)

// SID is the session's ID as the server gave it.
func (s *session) SID() []byte { return s.sid[:s.sidLen] }

// open is how many requests have no answer yet.
func (s *session) open() int {
	n := 0
	for q := range s.req {
		if s.req[q].rid != 0 {
			n++
		}
	}
	return n
}

// free is a place for a request, -1 when there is none: XEP-0124 section 11 lets a client of hold 1 have two.
func (s *session) free() int {
	for q := range s.req {
		if s.req[q].rid == 0 {
			return q
		}
	}
	return -1
}

// other is the request beside q, nil when there is none.
func (s *session) other(q int) *request {
	if o := &s.req[1-q]; o.rid != 0 {
		return o
	}
	return nil
}
