package takeover

// The steps of a hand-over as two state machines, one per process. They know no sockets and no clock: the caller passes
// events and carries out the returned actions in order. TestModel explores everything that two processes that follow
// them can do, so all decisions of a hand-over must be made here.

// Event is an event of a process during a hand-over.
type Event uint8

const (
	Asked     Event = iota // to the predecessor: a successor asks for the listeners
	Offered                // to the successor: all listeners have come
	Linked                 // the successor has at least its predecessor's fraction of links up
	Served                 // to the predecessor: the successor accepts
	Left                   // to the successor: the predecessor gives way
	Confirmed              // to the predecessor: the successor knows, and continues alone
	Refused                // to the successor: the predecessor continues, and sent its reason
	Gone                   // the other process has closed its end, or exited, without a packet
	Failed                 // a step of this process failed, or took too long
	Ended                  // a signal told this process to exit
)

// Action is a task of a process after an event.
type Action uint8

const (
	SendOffer   Action = iota // the listeners, and how many of the links are up
	SendRefusal               // the reason why the hand-over fails
	SendLeaving
	SendServing
	SendAlone
	HangUp     // close our end of the conversation
	FreePaths  // release takeover-socket, which only one process can have
	TakePaths  // bind takeover-socket; a failure is logged, and is no reason to stop serving
	AskAgain   // there may be another predecessor, or none
	StartEdge  // with the offered listeners; accept nothing yet
	BeginServe // accept
	DrainEdge  // drain the clients, and exit
	EndEdge    // at once: it has no clients
)

// PredecessorState is the progress of a process that may have a successor. It accepts in all states except Retired.
type PredecessorState uint8

const (
	// next: Offering (Asked), Retired (Ended)
	Available PredecessorState = iota
	// A successor has copies of the listeners. next: Leaving (Served), Available, Retired (Ended)
	Offering
	// The paths are free, and the successor has been told to take them. Nothing is drained before it confirms, because
	// it may have exited before it read that. next: Retired (Confirmed, Ended), Available (Gone)
	Leaving
	// It drains.
	Retired
)

// next returns the state after e and the actions to carry out. An event without a meaning in a state changes nothing.
// No clock ends the wait for a late process: only the end of its conversation does.
func (s PredecessorState) next(e Event) (PredecessorState, []Action) {
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
		case Ended: // the successor finds the end of the conversation, and continues
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

// SuccessorState is the progress of a process that succeeds another one. It accepts in Beside and Alone.
type SuccessorState uint8

const (
	// next: Linking (Offered), Withdrawn (Refused, Failed), Asking (Gone)
	Asking SuccessorState = iota
	// It has the listeners and accepts nothing. next: Beside (Linked), Alone (Gone), Withdrawn (Refused, Failed, Ended)
	Linking
	// Both accept. It has no time limit: a silent predecessor may be stopped, serve no client, and resume to announce
	// that it leaves. next: Alone (Left, Gone), Withdrawn (Refused, Ended)
	Beside
	// The hand-over is complete.
	Alone
	// The predecessor continues, and this process exits.
	Withdrawn
)

// next returns the state after e and the actions to carry out. Failed, in Linking, must not be reported while the
// socket would yield Gone (see Predecessor.Late).
func (s SuccessorState) next(e Event) (SuccessorState, []Action) {
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
		case Gone: // the process that had the listeners no longer uses them
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
