package link

// fault is the reason why a link ended.
type fault uint8

const (
	faultNone      fault = iota // the edge closed the link, or this server stopped
	faultIO                     // reading or writing failed
	faultGrammar                // the input is malformed or exceeds a limit
	faultEarly                  // the edge sent something before the welcome
	faultVersion                // the edge speaks another version
	faultSecret                 // the edge does not know the secret
	faultOldProof               // the edge's proof does not cover the rest of its hello: an old version
	faultDuplicate              // the edge reused a live id
	faultWindow                 // the edge sent a stream more than its window
	faultTimeout                // nothing was received, or nothing could be sent, for too long
	faultTooMany                // MaxLinks links exist already
	faultCrowded                // a newer connection evicted it before it had proved itself
	faultPeer                   // the edge reported an error of this origin
	faults         = iota
)

// names are for logs and counters.
var names = [faults]string{
	"none", "io", "grammar", "early", "version", "secret", "old-proof", "duplicate", "window",
	"timeout", "too-many", "crowded", "peer",
}

func (f fault) String() string { return names[f] }

// reasons are the texts sent to the edge. The text is empty if the edge has gone or needs no explanation.
var reasons = [faults]string{
	faultGrammar:   "protocol error: bad frame",
	faultEarly:     "protocol error: nothing but hello before welcome",
	faultVersion:   "this origin speaks version 1 only",
	faultSecret:    "the proof in hello is missing or wrong: are both ends given the same secret?",
	faultOldProof:  "the edge's version has no proof of its whole hello: upgrade edges before origins",
	faultDuplicate: "protocol error: this id is live",
	faultWindow:    "protocol error: a message beyond the window of its stream",
	faultTimeout:   "nothing was heard for too long",
	faultTooMany:   "this origin has as many links as it may have",
}
