package servers

import (
	"regexp"
	"slices"
	"strings"
)

// difference is one between the answers of a server itself and those through an edge: two outcomes, in which "*" stands
// for any part, and "~" for parts that are the same in both. It is wanted at some of the endpoints, and must occur at
// each of those.
type difference struct {
	ends         string
	dialogue     string
	direct, edge string
	why          string
}

// The endpoints that are compared with a server itself.
const (
	module    = "module module+tags" // ejabberd's, our own
	engine    = "engine engine+tags" // with the module's own engine
	ejabberds = module + " " + engine + " gateway gateway+tags"
	prosodys  = "prosody-gateway prosody-gateway+tags" // Prosody's BOSH endpoint
	all       = ejabberds + " " + prosodys
	tags      = "module+tags engine+tags gateway+tags" // edge and gateway mark session IDs
)

// at reports whether the difference is wanted at an endpoint.
func (d difference) at(end string) bool { return slices.Contains(strings.Fields(d.ends), end) }

// sighting is a difference that has occurred at an endpoint.
type sighting struct {
	difference
	end string
}

type sightings map[sighting]bool

// What edges say themselves.
const (
	badRequest = " text/xml; charset=utf-8 keep-alive <body condition='bad-request' type='terminate' *"
	tooLarge   = "413 text/plain; charset=utf-8 close *"
	notAllowed = "405 text/plain; charset=utf-8 * *"
)

// wanted lists every difference that there is, with its reason. All else must be the same. The first that fits counts.
var wanted = []difference{
	{ejabberds, "*", "reason *", "reason OK",
		"Clients match HTTP/1.1 200 OK as a whole; ejabberd has words of its own in the place of OK."},
	{ejabberds, "*", "reason *", "reason Bad Request", "The same for 400."},
	{prosodys, "*", "200~ sid='{sid}'~", "200~~",
		"Prosody repeats the session ID in each reply; there it would be without the tags of edge and gateway."},
	{module + " gateway gateway+tags " + prosodys, "creation", "200 text/xml; charset=utf-8~",
		"200 text/html; charset=utf-8~",
		"XEP-0124 section 7.1: the replies have the type that the client asked for in content."},
	{all, "strict", "200 * <body *<stream:features*", "200" + badRequest,
		"XEP-0124 section 14.1: no rid beyond 2^53-1."},
	{ejabberds, "strict", "200 * <body *<stream:features*", "400" + badRequest, "XEP-0124 section 6: no comments."},
	{prosodys, "strict", "200 * <body *'bad-request'*", "400" + badRequest,
		"XEP-0124 section 17.1: where comments are refused, a client that has not said ver gets 400."},

	// The edge looks at the first tag only; the server reports mistakes behind it.
	{ejabberds, "rid", "400 text/xml; charset=utf-8 keep-alive ", "200" + badRequest,
		"XEP-0124 section 17.2: a client that speaks ver is told the condition."},
	{prosodys, "rid", "200 * <body *'bad-request'*", "200" + badRequest, "The edge says it first, in its own words."},
	{prosodys, "rid", "200 * <body *<stream:features*", "200" + badRequest,
		"XEP-0124 section 14.1: no rid below zero."},
	{prosodys, "rid", "500  close *", "200" + badRequest,
		"Prosody stumbles over a rid that is no number."},
	{ejabberds, "malformed", "400 text/xml; charset=utf-8 keep-alive ", "400" + badRequest,
		"XEP-0124 section 17.1: others get 400; the condition beside it tells people."},
	{ejabberds, "malformed", "400 text/html; charset=utf-8 keep-alive *", "400" + badRequest, "The same, and no page."},
	{prosodys, "malformed", "200 text/xml; charset=utf-8 keep-alive <body *condition='*", "400" + badRequest,
		"The same; Prosody says 200 always, and item-not-found of some."},

	{prosodys, "http", "200 * <body *'item-not-found'*/>\n", "200 * <body *'item-not-found'*/>",
		"RFC 9112 section 7: chunked bodies must be taken; Prosody takes them for empty, and has other words then."},
	{tags, "sid", "200~ <body condition='improper-addressing'~", "200~ <body condition='item-not-found'~",
		"With tags, edge and gateway know that an empty session ID is nobody's; ejabberd takes it for none."},

	{ejabberds, "oversized", "403 text/xml; charset=utf-8 keep-alive ", tooLarge,
		"The edge does not read what is too large, so it cannot go on with the connection; it says so in HTTP."},
	{prosodys, "oversized", "200 *<body>xxx*", tooLarge, "The same. Prosody's limit is larger."},

	{all, "http", "200 text/* keep-alive <*</html>*", "200 text/html; charset=utf-8 keep-alive *Megaphone*",
		"A person who looks sees what is there."},
	{ejabberds, "http", "200 text/plain keep-alive ", "200  keep-alive ",
		"A preflight's answer has no body, so no type either."},
	{ejabberds, "http", "400 text/xml; charset=utf-8 * <?xml *400 Bad Request*", notAllowed,
		"RFC 9110 section 15.5.6: another method is not a bad request."},
	{prosodys, "http", "404 text/html; charset=utf-8 * *404 Not Found*", notAllowed, "The same: nor is it not found."},
	{all, "http", "404 text/html; charset=utf-8 * *404 Not Found*", "404 text/plain; charset=utf-8 * Nothing here*",
		"A page of the edge's own."},
	{ejabberds, "http", "400 text/html; charset=utf-8 * Missing Host header", "200 * *item-not-found*",
		"RFC 1945: HTTP/1.0 has no Host; XEP-0124 section 4 wants HTTP/1.0 to work."},
	{ejabberds, "http", "400 text/html; charset=utf-8 * *400 Bad Request*", "200 * *item-not-found*",
		"RFC 9112 section 7: chunked bodies must be taken; ejabberd takes none."},

	{prosodys, "lost", "200 * <body *'item-not-found'*/>", "200 * <body xmlns='http://jabber.org/protocol/httpbind'/>",
		"XEP-0124 section 14.3: a request may come again. Prosody has no answer to it, and the session continues."},

	// The module's own engine keeps to the XEP where mod_bosh does not.
	{engine, "creation", "200 text/xml;~ ver='1.11'~", "200 text/html;~ ver='1.6'~", "As below, both at once."},
	{engine, "creation", "200~ <body authid=~ ver='1.11'~", "200~ <body ack='1003' authid=~ ver='1.6'~",
		"XEP-0124 section 9: the engine acknowledges for those who ask for it; mod_bosh does not know how."},
	{engine, "*", "200~ ver='1.11'~", "200~ ver='1.6'~", "XEP-0124 section 7.2: the lower of the two versions."},
	{engine, "creation_errors", "200~'internal-server-error'~", "200~'host-unknown'~",
		"XEP-0124 section 17.2: the domain is not one of ours, and nothing has failed."},
	{engine, "held", "200~condition='other-request' type='terminate'~", "200~type='terminate'~",
		"XEP-0124 section 13: the oldest request is told that the session is over,"},
	{engine, "held", "200~ type='terminate'~", "200~~", "and all others get an empty answer."},
	{engine, "terminate", "200~condition='other-request' type='terminate'~", "200~type='terminate'~", "The same,"},
	{engine, "terminate", "200~ type='terminate'~", "200~~", "and this."},
	{engine, "terminate", "200 * <body *<stream:features*", "200 * <body type='terminate' *",
		"A request that opens and ends a session has ended it."},
	{engine, "duplicates", "200~ <body xmlns='http://jabber.org/protocol/httpbind'/>",
		"200~ <body type='error' xmlns='http://jabber.org/protocol/httpbind'/>",
		"XEP-0124 section 14.3: a request that came again is answered with a recoverable error."},
	{engine, "window", "200 * <body *id='first'*", "200 * <body xmlns='http://jabber.org/protocol/httpbind'/>",
		"XEP-0124 section 11: two requests that come together are processed together, and the older one is answered"},
	{engine, "window", "200 * <body *id='second'*", "200 * <body *id='first'*",
		"at once: what follows is a reply later."},
}

// unlike says why a dialogue goes another way at an endpoint, so that there is nothing to compare; "" if it does not.
func unlike(dialogue, end string) string {
	if dialogue == "pause" && strings.Contains(engine, end) {
		return "XEP-0124 section 10: the engine answers the request that pauses at once, as it answers all others;" +
			" mod_bosh leaves it open. EUnit's pause_test has the engine's way."
	}
	return ""
}

// lines returns the compared parts of an outcome. The reason goes with the status.
func (o outcome) lines() []string {
	return []string{
		strings.Join([]string{o.status, o.contentType, o.connection, o.body}, " "),
		"reason " + o.reason,
	}
}

// compared gives the differences that are not wanted, and notes those that are. It is one line of each.
func compared(dialogue, end string, direct, edge outcome, seen sightings) (unwanted [][2]string) {
	edges := edge.lines()
	for i, line := range direct.lines() {
		if i == 1 && direct.status != edge.status {
			break
		}
		if line != edges[i] && !known(dialogue, end, line, edges[i], seen) {
			unwanted = append(unwanted, [2]string{line, edges[i]})
		}
	}
	return unwanted
}

func known(dialogue, end, direct, edge string, seen sightings) bool {
	for _, d := range wanted {
		if d.at(end) && (d.dialogue == "*" || d.dialogue == dialogue) && d.fits(direct, edge) {
			seen[sighting{d, end}] = true
			return true
		}
	}
	return false
}

// fits reports whether the outcomes are as the difference says.
func (d difference) fits(direct, edge string) bool {
	same := pattern(d.direct).FindStringSubmatch(direct)
	if same == nil {
		return false
	}
	text := regexp.QuoteMeta(d.edge)
	for _, part := range same[1:] {
		text = strings.Replace(text, "~", regexp.QuoteMeta(part), 1)
	}
	return whole(text).MatchString(edge)
}

// pattern has a group for each "~".
func pattern(text string) *regexp.Regexp {
	return whole(strings.ReplaceAll(regexp.QuoteMeta(text), "~", "(.*)"))
}

func whole(quoted string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(quoted, `\*`, `.*`) + `$`)
}
