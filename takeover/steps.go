package takeover

// The steps of a hand-over as two state machines, one a process. They know no sockets and no clock: the caller hands in
// what happened and carries out what is returned, in order. TestModel walks through everything that two processes that
// follow them can do, so whatever is decided in a hand-over must be decided here.

// Event is what happens to a process during a hand-over.
type Event uint8

const (
	Asked     Event = iota // to the predecessor: a successor asks for the listeners
	Offered                // to the successor: all listeners have come
	Linked                 // the successor is linked as well as its predecessor
	Served                 // to the predecessor: the successor accepts
	Left                   // to the successor: the predecessor gives way
	Confirmed              // to the predecessor: the successor knows, and goes on alone
	Refused                // to the successor: the predecessor goes on, in words
	Gone                   // the other process has closed its end, or is no more, without a word
	Failed                 // a step of this process failed, or took too long
	Ended                  // this process has been told to end, by a signal
)

// Action is what a process has to do after an event.
type Action uint8

const (
	SendOffer   Action = iota // the listeners, and how well we are linked
	SendRefusal               // why the hand-over comes to nothing
	SendLeaving
	SendServing
	SendAlone
	HangUp     // close our end of the talk
	FreePaths  // give up takeover-socket, which one process only can have
	TakePaths  // bind takeover-socket; a failure is logged, and is no reason to stop serving
	AskAgain   // there may be another predecessor, or none
	StartEdge  // with the listeners that were offered; accept nothing yet
	BeginServe // accept
	DrainEdge  // take leave of the clients, and end
	EndEdge    // at once: it has no clients
)

// PredecessorState is how far a process has come that may be followed. It accepts in all of them but Retired.
type PredecessorState uint8

const (
	// next: Offering (Asked), Retired (Ended)
	Available PredecessorState = iota
	// A successor has copies of the listeners. next: Leaving (Served), Available, Retired (Ended)
	Offering
	// The paths are free, and the successor has been told to take them. Nothing is drained before it has confirmed: it
	// may have ended while the word was on its way. next: Retired (Confirmed, Ended), Available (Gone)
	Leaving
	// It drains.
	Retired
)

// Next returns the state after e and what is to be done for it. An event that means nothing in a state changes nothing:
// a process that is late is not waited for without end by a clock, but by its end of the talk.
func (s PredecessorState) Next(e Event) (PredecessorState, []Action) {
	switch s {
	case Available:
		switch e {
		case Asked:
			return Offering, []Action{SendOffer}
		case Ended:
			return Retired, []Action{FreePaths, DrainEdge}
		}
	case Offering:
		switch e {
		case Served:
			return Leaving, []Action{FreePaths, SendLeaving}
		case Gone:
			return Available, []Action{HangUp}
		case Failed:
			return Available, []Action{SendRefusal, HangUp}
		case Ended: // the successor finds the end of the talk, and goes on
			return Retired, []Action{FreePaths, HangUp, DrainEdge}
		}
	case Leaving:
		switch e {
		case Confirmed, Ended:
			return Retired, []Action{HangUp, DrainEdge}
		case Gone:
			return Available, []Action{HangUp, TakePaths}
		}
	}
	return s, nil
}

// SuccessorState is how far a process has come that follows another one. It accepts in Beside and Alone.
type SuccessorState uint8

const (
	// next: Linking (Offered), Withdrawn (Refused, Failed), Asking (Gone)
	Asking SuccessorState = iota
	// It has the listeners and accepts nothing. next: Beside (Linked), Alone (Gone), Withdrawn (Refused, Failed, Ended)
	Linking
	// Both accept. It has no limit in time: a predecessor that says nothing may be stopped, serve nothing, and come
	// back to say that it leaves. next: Alone (Left, Gone), Withdrawn (Refused, Ended)
	Beside
	// The hand-over is done.
	Alone
	// The predecessor goes on, and this process ends.
	Withdrawn
)

// Next returns the state after e and what is to be done for it. Failed, in Linking, must not be reported while Gone is
// to be found on the socket (see Predecessor.Failed).
func (s SuccessorState) Next(e Event) (SuccessorState, []Action) {
	switch s {
	case Asking:
		switch e {
		case Offered:
			return Linking, []Action{StartEdge}
		case Gone:
			return Asking, []Action{HangUp, AskAgain}
		case Refused, Failed, Ended:
			return Withdrawn, []Action{HangUp, EndEdge}
		}
	case Linking:
		switch e {
		case Linked:
			return Beside, []Action{BeginServe, SendServing}
		case Gone: // whoever had the listeners has no use for them any more
			return Alone, []Action{HangUp, BeginServe, TakePaths}
		case Refused, Failed, Ended:
			return Withdrawn, []Action{HangUp, EndEdge}
		}
	case Beside:
		switch e {
		case Left:
			return Alone, []Action{SendAlone, HangUp, TakePaths}
		case Gone:
			return Alone, []Action{HangUp, TakePaths}
		case Refused, Ended:
			return Withdrawn, []Action{HangUp, DrainEdge}
		}
	}
	return s, nil
}
