package load

import "unsafe"

// sessionBytes is the size of a session in a worker's table, without its address and its connection.
const sessionBytes = 184

// Both lines fail to compile if a field changes the size of session.
const (
	_ = uint(sessionBytes - unsafe.Sizeof(session{}))
	_ = uint(unsafe.Sizeof(session{}) - sessionBytes)
)

// stage is the progress of a session.
type stage uint8

const (
	// Not begun, or ended and about to begin again. next: stageCreating
	stageNew stage = iota
	// The creation request is sent. A WebSocket is connected, or waits for its turn. next: stageFeatures, stageUp
	// (login none), stageOver
	stageCreating
	// There is a sid; the server's first features have not come. next: stageAuth, stageOver
	stageFeatures
	// SASL is in progress. next: stageRestart, stageOver
	stageAuth
	// The stream was restarted, and features must come again. next: stageBind, stageOver
	stageRestart
	// A resource is being bound. next: stageUp, stageEnable, stageOver
	stageBind
	// Stream management is being enabled (WebSocket). next: stageUp, stageCreating (the connection is lost), stageOver
	stageEnable
	// An earlier session is being resumed (WebSocket). next: stageUp, stageBind (a storm, and the server has forgotten
	// it), stageCreating (the connection is lost), stageOver
	stageResume
	// It polls and may send. next: stageEnding, stageOver, stageCreating (a WebSocket is lost)
	stageUp
	// It has sent a terminate. next: stageOver
	stageEnding
	// It has ended; requests may be unanswered, but their answers no longer matter. next: stageNew (churn and storm,
	// when all requests are answered)
	stageOver
)

// kind determines a request's contents, so that it can be written again.
type kind uint8

const (
	kindNone kind = iota
	kindCreate
	kindAuth
	kindProof // the answer to a challenge
	kindRestart
	kindBind
	kindPresence
	kindPoll    // no contents
	kindMessage // message number seq to the partner, first sent at stamp
	kindBatch   // a broadcast's messages to the sessions from seq on, in a burst that began at stamp
	kindTerminate
	kindPing   // a server answers it at once
	kindEnable // of stream management, as are the next
	kindResume
)

// noConn, as request.conn, marks a request that must be sent or sent again.
const noConn = 0

// request is an unanswered request.
type request struct {
	rid   uint64 // 0: none
	conn  uint32 // noConn, or its connection
	at    stamp  // when the kernel got it; 0: not yet
	seq   uint32
	stamp stamp
}

// maxSIDBytes is the longest supported session ID. ejabberd's has 40 bytes, and an edge adds 12 or so.
const maxSIDBytes = 79

// session is a client. It contains no pointers, so that the garbage collector never scans a million of them.
//
// Over BOSH req has the unanswered requests. Over WebSocket it has the stanzas that the server has not acknowledged
// (XEP-0198): rid is the count of stanzas with them, conn is not used, and sid is the name for resumption.
//
// Invariant: of two requests the one in req[0] need not be the older; compare rid.
//
// Invariant: no two requests are on the same connection, and a request on a connection does not wait to be sent again.
type session struct {
	req  [2]request
	rid  uint64 // of the last request
	next uint32 // index+1 of the next session in its list; see backoffs and queue

	partner uint32 // the session it sends messages to
	author  uint32 // the session that sends messages to it
	sent    uint32 // messages sent to the partner
	inbox   inbox  // messages from the author

	began stamp // of the creation
	wait  uint16
	kinds [2]kind
	tries [2]uint8
	stage stage
	flags uint8
	fails uint8 // failed log-ins since it was last up

	sidLen uint8
	sid    [maxSIDBytes]byte
}

// Bits of session.flags.
const (
	flagWaiting uint8 = 1 << iota // in a list of backoffs or queue
	flagGot                       // has received the broadcast
	flagReached                   // has been up once
	flagLeaving                   // ends as soon as it may send a terminate
	flagBack                      // has come back in a storm
	flagComing                    // counts in worker.coming
	flagOffered                   // the server offers stream management
	flagManaged                   // stream management is enabled
)

// SID returns the session's ID as the server assigned it.
func (s *session) SID() []byte { return s.sid[:s.sidLen] }

// open returns the number of unanswered requests.
func (s *session) open() int {
	n := 0
	for q := range s.req {
		if s.req[q].rid != 0 {
			n++
		}
	}
	return n
}

// free returns a free place for a request, or -1. XEP-0124 section 11 permits two for a client of hold 1.
func (s *session) free() int {
	for q := range s.req {
		if s.req[q].rid == 0 {
			return q
		}
	}
	return -1
}

// order returns the places of the requests, that of the older one first.
func (s *session) order() [2]int {
	if s.req[1].rid != 0 && (s.req[0].rid == 0 || s.req[1].rid < s.req[0].rid) {
		return [2]int{1, 0}
	}
	return [2]int{0, 1}
}

// other returns the request beside q, or nil.
func (s *session) other(q int) *request {
	if o := &s.req[1-q]; o.rid != 0 {
		return o
	}
	return nil
}
