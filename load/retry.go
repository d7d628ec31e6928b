package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"megaphone/loop"
)

// retry is a client's reaction to a failure. It shapes a storm: clients without jitter come back in step.
type retry string

// The retries of known clients follow their sources: strophe.js 5.0.0 (src/transports/bosh.ts) with Converse.js 14
// (src/headless/shared/connection), stanza 12.22 (transports/bosh.js, Client.js), and libpurple 2
// (protocols/jabber/bosh.c) with Pidgin (gtkconn.c).
const (
	retryLoad      retry = "load"      // a jittered back-off of 0.2 to 10 s, or what the server asks for
	retryStrophe   retry = "strophe"   // at once, then after 8, 27 and 64 s; logs in anew at once, then every 3 s
	retryStanza    retry = "stanza"    // at once, then after 4, 9 and 16 s; logs in anew after 2, 4, ... 32 s
	retryLibpurple retry = "libpurple" // never; polls with a new rid after a while; logs in anew after 8 to 60 s
)

// retries lists all retries.
var retries = []retry{retryLoad, retryStrophe, retryStanza, retryLibpurple}

const second = 1000 / loop.TickMillis // ticks

const (
	knownTries      = 5           // Strophe.js and stanza.js give up a request after the fifth failure in a row
	stropheAnew     = 3 * second  // Converse.js
	stanzaMostAnew  = 32 * second // maxReconnectBackoff
	purpleQuiet     = 55 * second // libpurple notices no empty answer; it polls 5 s before the usual inactivity ends
	purpleLeastAnew = 8 * second
	purpleMostAnew  = 60 * second
	mostAnew        = 100 * second // the capacity of backoffs
)

// parseRetries parses a list of retries, which is assigned to sessions in turn.
func parseRetries(s string) (list []retry, err error) {
	for part := range strings.SplitSeq(s, ",") {
		r := retry(strings.TrimSpace(part))
		if !slices.Contains(retries, r) {
			return nil, fmt.Errorf("retry: %s: use one of %s, or several of them with commas", part, join(retries))
		}
		list = append(list, r)
	}
	return list, nil
}

// retryOf returns the retry of session i.
func (w *worker) retryOf(i uint32) retry { return w.retries[int(i)%len(w.retries)] }

// again returns the ticks to wait before a request that has failed tries times is sent again. ok is false if the client
// gives up. asked is the server's Retry-After, and most the number of tries of retryLoad.
func (r retry) again(rnd *rand.Rand, tries uint8, asked uint32, most int) (ticks uint32, ok bool) {
	n := uint32(tries)
	switch r {
	case retryStrophe:
		if n == 1 {
			return 0, true
		}
		return n * n * n * second, n < knownTries
	case retryStanza:
		if n == 1 {
			return 0, true
		}
		return n*n*second + rnd.Uint32N(second+1), n < knownTries
	}
	return backoff(rnd, tries, asked), int(tries) < most
}

// anew returns the ticks between a session's end and its next log-in, after fails failed ones.
func (r retry) anew(rnd *rand.Rand, fails uint8) uint32 {
	doubled := uint32(1) << min(fails, 10)
	switch r {
	case retryStrophe:
		return min(uint32(fails), 1) * stropheAnew
	case retryStanza:
		return min(2*doubled*second+rnd.Uint32N(second+1), stanzaMostAnew)
	case retryLibpurple:
		first := purpleLeastAnew + rnd.Uint32N(purpleMostAnew-purpleLeastAnew+1)
		return min(first*doubled, mostAnew)
	}
	return backoff(rnd, min(fails, 10)+1, 0)
}
