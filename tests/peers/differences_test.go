package peers

import (
	"regexp"
	"strings"
)

// difference is one between what a client gets from mod_bosh and what it gets through an edge: two outcomes, of which
// "*" stands for any part.
type difference struct {
	dialogue     string
	direct, edge string
	why          string
}

const badRequest = " text/xml; charset=utf-8 keep-alive <body type='terminate' condition='bad-request' *"

// wanted lists every difference that there is, with its reason. All else must be the same.
var wanted = []difference{
	{"*", "reason *", "reason OK",
		"Clients match HTTP/1.1 200 OK as a whole; ejabberd has words of its own in the place of OK."},
	{"*", "reason *", "reason Bad Request", "The same for 400."},
	{"creation", "200 text/xml; charset=utf-8 *", "200 text/html; charset=utf-8 *",
		"XEP-0124 section 7.1: the replies have the type that the client asked for in content."},
	{"strict", "200 * <body *<stream:features>*", "200" + badRequest, "XEP-0124 section 14.1: no rid beyond 2^53-1."},
	{"strict", "200 * <body *<stream:features>*", "400" + badRequest, "XEP-0124 section 6: no comments."},

	// The edge looks at the first tag only; what is wrong behind it is ejabberd's to say.
	{"rid", "400 text/xml; charset=utf-8 keep-alive ", "200" + badRequest,
		"XEP-0124 section 17.2: a client that speaks ver is told the condition."},
	{"malformed", "400 text/xml; charset=utf-8 keep-alive ", "400" + badRequest,
		"XEP-0124 section 17.1: others get 400; the condition beside it tells people."},
	{"malformed", "400 text/html; charset=utf-8 keep-alive *", "400" + badRequest, "The same, and no page."},
	{"*", "200 * <body * condition='item-not-found'/>", "200 * <body type='terminate' condition='item-not-found' *",
		"With node tags the edge itself knows that a session ID without a tag is nobody's."},
	{"sid", "200 * <body * condition='improper-addressing'/>",
		"200 * <body type='terminate' condition='item-not-found' *",
		"The same, for an empty session ID."},

	{"oversized", "403 text/xml; charset=utf-8 keep-alive ", "413 text/plain; charset=utf-8 close *",
		"The edge does not read what is too large, so it cannot go on with the connection; it says so in HTTP."},

	{"http", "200 text/xml; charset=utf-8 keep-alive *mod_bosh*", "200 text/html; charset=utf-8 keep-alive *Megaphone*",
		"A person who looks sees what is there, and the type of the page is right."},
	{"http", "200 text/plain keep-alive ", "200  keep-alive ", "A preflight's answer has no body, so no type either."},
	{"http", "400 text/xml; charset=utf-8 * <?xml *400 Bad Request*", "405 text/plain; charset=utf-8 * *",
		"RFC 9110 section 15.5.6: another method is not a bad request."},
	{"http", "404 text/html; charset=utf-8 * *404 Not Found*", "404 text/plain; charset=utf-8 * Nothing here*",
		"A page of the edge's own."},
	{"http", "400 text/html; charset=utf-8 * Missing Host header", "200 * *item-not-found*",
		"RFC 1945: HTTP/1.0 has no Host; XEP-0124 section 4 wants HTTP/1.0 to work."},
	{"http", "400 text/html; charset=utf-8 * *400 Bad Request*", "200 * *item-not-found*",
		"RFC 9112 section 7: chunked bodies must be taken; ejabberd takes none."},
}

// lines are what is compared of an outcome. The reason goes with the status.
func (o outcome) lines() []string {
	return []string{
		strings.Join([]string{o.status, o.contentType, o.connection, o.body}, " "),
		"reason " + o.reason,
	}
}

// compared gives the differences that are not wanted, and notes those that are. It is one line of each.
func compared(dialogue string, direct, edge outcome, seen map[difference]bool) (unwanted [][2]string) {
	edges := edge.lines()
	for i, line := range direct.lines() {
		if i == 1 && direct.status != edge.status {
			break
		}
		if line != edges[i] && !known(dialogue, line, edges[i], seen) {
			unwanted = append(unwanted, [2]string{line, edges[i]})
		}
	}
	return unwanted
}

func known(dialogue, direct, edge string, seen map[difference]bool) bool {
	for _, d := range wanted {
		if fits(d.dialogue, dialogue) && fits(d.direct, direct) && fits(d.edge, edge) {
			seen[d] = true
			return true
		}
	}
	return false
}

// fits reports whether text is as the pattern says.
func fits(pattern, text string) bool {
	quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`).MatchString(text)
}
