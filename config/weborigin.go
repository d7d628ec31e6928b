package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// normalOrigin returns a web origin as browsers write it in the Origin header (RFC 6454 section 6.2, and the URL
// standard). Scheme and host are in lower case, the host in ASCII, without default port and trailing slash. remedy is a
// correction for something that no browser sends; "" if o is valid.
func normalOrigin(o string) (normal, remedy string) {
	const form = `use "*", null, or scheme://host[:port]`
	if strings.EqualFold(o, "null") {
		return "null", ""
	}
	scheme, rest, found := strings.Cut(o, "://")
	scheme, rest = strings.ToLower(scheme), strings.TrimSuffix(rest, "/")
	switch {
	case !found || !validScheme(scheme):
		return o, form + " without a path"
	case strings.ContainsAny(rest, "/?#\\"):
		return o, form + " without a path"
	case strings.Contains(rest, "@"):
		return o, form + " without a user"
	case strings.Contains(rest, "*"):
		return o, `name each origin: only "*" alone stands for several`
	}
	for i := range len(rest) {
		if rest[i] <= ' ' || rest[i] == 0x7F || strings.IndexByte("\"<>^`{|},;%", rest[i]) >= 0 {
			return o, form + " without spaces and the like"
		}
	}
	if scheme != "http" && scheme != "https" {
		for i := range len(rest) {
			if rest[i] > '~' {
				return o, "write it in ASCII, as the app's Origin header has it"
			}
		}
		return scheme + "://" + rest, "" // an app's: its host is not a DNS name, and may be case-sensitive
	}
	return normalWeb(o, scheme, rest)
}

// normalWeb is normalOrigin for http and https.
func normalWeb(o, scheme, rest string) (normal, remedy string) {
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Hostname() == "" {
		return o, "give a host name or address, and if need be a port: " + scheme + "://host[:port]"
	}
	host, port := u.Hostname(), u.Port()
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n > 65535) {
		return o, "use a port up to 65535"
	} else if port != "" {
		port = strconv.Itoa(n)
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + a.WithZone("").String() + "]"
	} else if host, err = asciiName(host); err != nil {
		return o, fmt.Sprintf("not a host name (%v): write it as the browser's console shows it", err)
	}
	if port != "" && !(scheme == "http" && port == "80" || scheme == "https" && port == "443") {
		host += ":" + port
	}
	return scheme + "://" + host, ""
}

// hostNames maps host names to ASCII as browsers do, underscores included.
var hostNames = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

// asciiName returns a host name as in DNS and HTTP.
func asciiName(name string) (ascii string, err error) {
	if !utf8.ValidString(name) {
		return name, errors.New("it is not UTF-8")
	}
	if ascii, err = hostNames.ToASCII(name); err == nil {
		ascii, err = hostNames.ToASCII(ascii) // a result that it does not accept itself is not a name
	}
	return ascii, err
}

// validScheme checks a scheme in lower case (RFC 3986 section 3.1).
func validScheme(s string) bool {
	for i := range len(s) {
		letter := s[i] >= 'a' && s[i] <= 'z'
		if !letter && (i == 0 || !(s[i] >= '0' && s[i] <= '9') && strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

// maxCORS bounds the listed web origins.
const maxCORS = 250

// parseCORS puts web origins into the form of the Origin header.
func parseCORS(c *Config, _ *Values) error {
	normal := make([]string, len(c.CORS))
	for i, o := range c.CORS {
		if o == "*" && len(c.CORS) > 1 {
			return bad("cors-origins", o, `"*" stands alone`)
		}
		key := "cors-origins"
		if len(c.CORS) > 1 {
			key += fmt.Sprintf("[%d]", i)
		}
		var remedy string
		if normal[i], remedy = normalOrigin(o); o != "*" && remedy != "" {
			return bad(key, o, remedy)
		}
	}
	if len(c.CORS) > maxCORS {
		return bad("cors-origins", len(c.CORS), fmt.Sprintf("at most %d", maxCORS))
	}
	c.CORS = normal
	return nil
}
