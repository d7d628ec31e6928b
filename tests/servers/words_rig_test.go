package servers

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"megaphone/tests/rig"
)

// words are what dialogues abbreviate.
func words(path, user, resource string) *strings.Replacer {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	return strings.NewReplacer(
		"$path", path,
		"$ns", "xmlns='http://jabber.org/protocol/httpbind'",
		"$xmpp", "xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'",
		"$plain", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain+"</auth>",
		"$anonymous", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
		"$bind", "<iq xmlns='jabber:client' type='set' id='bind'>"+
			"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>"+resource+"</resource></bind></iq>",
		"$ping", "<iq xmlns='jabber:client' type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
	)
}

var (
	keyPattern  = regexp.MustCompile(`\$key\((\d+)\)`)
	fillPattern = regexp.MustCompile(`\$fill\((\d+)\)`)
	lastPattern = regexp.MustCompile(`\$last([+-]\d+)?`)
)

// speaker replaces placeholders with values.
type speaker struct {
	words *strings.Replacer
	rid   int // the last one used
	sid   string
	jid   string
}

func (s *speaker) say(text string) string {
	text = s.words.Replace(text)
	for strings.Contains(text, "$rid") {
		s.rid++
		text = strings.Replace(text, "$rid", strconv.Itoa(s.rid), 1)
	}
	text = lastPattern.ReplaceAllStringFunc(text, func(match string) string {
		offset, _ := strconv.Atoi(strings.TrimPrefix(match, "$last"))
		return strconv.Itoa(s.rid + offset)
	})
	text = keyPattern.ReplaceAllStringFunc(text, func(match string) string {
		return key(argument(keyPattern, match))
	})
	text = fillPattern.ReplaceAllStringFunc(text, func(match string) string {
		return strings.Repeat("x", argument(fillPattern, match))
	})
	return strings.NewReplacer("$sid", s.sid, "$jid", s.jid).Replace(text)
}

var jidPattern = regexp.MustCompile(`<jid>([^<]+)</jid>`)

// hear remembers what later requests refer to.
func (s *speaker) hear(body string) {
	if m := rig.SIDPattern.FindStringSubmatch(body); m != nil {
		s.sid = m[1]
	}
	if m := jidPattern.FindStringSubmatch(body); m != nil {
		s.jid = m[1]
	}
}

func argument(p *regexp.Regexp, match string) int {
	n, _ := strconv.Atoi(p.FindStringSubmatch(match)[1])
	return n
}

// key is K(n) of XEP-0124 section 15.3.
func key(n int) string {
	k := "seed"
	for range n {
		sum := sha1.Sum([]byte(k))
		k = hex.EncodeToString(sum[:])
	}
	return k
}

// random finds what differs from one run of a dialogue to the next; its group is the value.
var random = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"sid", regexp.MustCompile(`\ssid='([^']+)'`)},
	{"authid", regexp.MustCompile(`\sauthid='([^']+)'`)},
	{"user", regexp.MustCompile(`<jid>([^<@]+)@`)},
	{"id", regexp.MustCompile(`\sid='(\d{6,}|rosterPush\d+)'`)},
}

// normaliser has the random values that came up, and their replacements.
type normaliser struct{ names map[string]string }

func (n *normaliser) normalise(body string) string {
	for _, r := range random {
		body = r.pattern.ReplaceAllStringFunc(body, func(match string) string {
			value := r.pattern.FindStringSubmatch(match)[1]
			n.names[value] = "{" + r.name + "}"
			return strings.Replace(match, value, n.names[value], 1)
		})
	}
	// With tags, one value may begin with another.
	values := slices.SortedFunc(maps.Keys(n.names), func(a, b string) int { return len(b) - len(a) })
	for _, value := range values {
		body = strings.ReplaceAll(body, value, n.names[value])
	}
	return tagPattern.ReplaceAllStringFunc(body, func(tag string) string {
		attributes := attributePattern.FindAllString(tag, -1)
		slices.Sort(attributes)
		i := 0
		return attributePattern.ReplaceAllStringFunc(tag, func(string) string { i++; return attributes[i-1] })
	})
}

// The order of attributes means nothing in XML, and is another one each time that Prosody starts.
var (
	tagPattern       = regexp.MustCompile(`^<body[^>]*>`)
	attributePattern = regexp.MustCompile(`[\w:]+='[^']*'`)
)
