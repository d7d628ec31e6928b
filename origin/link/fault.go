package link

// Fault is the reason why a link ended.
type Fault uint8

const (
	FaultNone      Fault = iota // the edge closed the link, or this server stopped
	FaultIO                     // reading or writing failed
	FaultGrammar                // the input is malformed or exceeds a limit
	FaultEarly                  // the edge sent something before the welcome
	FaultVersion                // the edge speaks another version
	FaultSecret                 // the edge does not know the secret
	FaultOldProof               // the edge's proof does not cover the rest of its hello: an old version
	FaultDuplicate              // the edge reused a live id
	FaultTimeout                // nothing was received, or nothing could be sent, for too long
	FaultTooMany                // MaxLinks links exist already
	FaultCrowded                // a newer connection evicted it before it had proved itself
	FaultPeer                   // the edge reported an error of this origin
	faults         = iota
)

// names are for logs and counters.
var names = [faults]string{
	"none", "io", "grammar", "early", "version", "secret", "old-proof", "duplicate", "timeout",
	"too-many", "crowded", "peer",
}

func (f Fault) String() string { return names[f] }

// reasons are the texts sent to the edge. The text is empty if the edge has gone or needs no explanation.
var reasons = [faults]string{
	FaultGrammar:   "protocol error: bad frame",
	FaultEarly:     "protocol error: nothing but hello before welcome",
	FaultVersion:   "this origin speaks version 1 only",
	FaultSecret:    "the proof in hello is missing or wrong: are both ends given the same secret?",
	FaultOldProof:  "the edge's version has no proof of its whole hello: upgrade edges before origins",
	FaultDuplicate: "protocol error: this id is live",
	FaultTimeout:   "nothing was heard for too long",
	FaultTooMany:   "this origin has as many links as it may have",
}
