package peers

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"regexp"
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

// speaker puts values in the place of what stands for them.
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
	{"user", regexp.MustCompile(`<jid>(\d+)@`)},
	{"id", regexp.MustCompile(`\sid='(\d{6,}|rosterPush\d+)'`)},
}

// normaliser has the random values that came up, and what is put in their place.
type normaliser struct{ names map[string]string }

func (n *normaliser) normalise(body string) string {
	for _, r := range random {
		for _, m := range r.pattern.FindAllStringSubmatch(body, -1) {
			if n.names[m[1]] == "" {
				n.names[m[1]] = "{" + r.name + "}"
			}
		}
	}
	for value, name := range n.names {
		body = strings.ReplaceAll(body, value, name)
	}
	return body
}
