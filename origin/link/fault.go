package link

// Fault is why a link ended.
type Fault uint8

const (
	FaultNone      Fault = iota // the edge closed it, or we were shut down
	FaultIO                     // reading or writing failed
	FaultGrammar                // what came is not the protocol's grammar, or longer than allowed
	FaultEarly                  // something came before the welcome
	FaultVersion                // the edge speaks another version
	FaultSecret                 // the edge does not know the secret
	FaultOldProof               // the edge's version proves the secret without the rest of its hello
	FaultDuplicate              // an id was used again while it was live
	FaultTimeout                // nothing came, or nothing could be sent, for too long
	FaultTooMany                // there are as many links as there may be
	FaultCrowded                // it has not proved to be an edge's, and another connection wanted its place
	FaultPeer                   // the edge said that it was our fault
	faults         = iota
)

// names are for logs and counters.
var names = [faults]string{
	"none", "io", "grammar", "early", "version", "secret", "old-proof", "duplicate", "timeout",
	"too-many", "crowded", "peer",
}

func (f Fault) String() string { return names[f] }

// reasons are what the edge is told, "" where there is nobody to tell or nothing to say.
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
