package config

import (
	"fmt"
	"net/url"
	"strings"

	"megaphone/codec/http1"
)

// maxPath bounds the path of the endpoint in bytes.
const maxPath = 255

func parsePath(c *Config, _ *Values) (err error) {
	c.Path, err = normalPath("path", c.Path, "/http-bind")
	return err
}

// pathOff is the path of an endpoint that is off.
const pathOff = "off"

func parseWebSocketPath(c *Config, _ *Values) (err error) {
	if c.WebSocketPath == pathOff {
		return nil
	}
	if c.WebSocketPath, err = normalPath("websocket-path", c.WebSocketPath, "/xmpp-websocket"); err != nil {
		return err
	}
	if c.WebSocketPath == c.Path {
		return bad("websocket-path", c.WebSocketPath, "it is that of BOSH: give another one, or off")
	}
	return nil
}

// normalPath returns the path of an endpoint in its normal form, to which the paths of requests are compared.
func normalPath(key, p, sample string) (string, error) {
	example := "for example " + sample
	escaped := (&url.URL{Path: p}).EscapedPath()
	normal, ok := http1.AppendNormalPath(nil, []byte(p))
	if ok {
		p = string(normal)
	}
	switch {
	case !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?#"):
		return "", bad(key, p, "give an absolute path without a query, "+example)
	case !ok:
		return "", bad(key, p, "a % needs two hexadecimal digits after it: write %25 for a literal %")
	case len(p) > maxPath:
		return "", bad(key, p, fmt.Sprintf("give one of at most %d bytes, %s", maxPath, example))
	case strings.ContainsFunc(p, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", bad(key, p, "write it as it is in a URL: "+escaped)
	}
	return p, nil
}
