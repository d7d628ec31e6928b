package config

import (
	"math"
	"strings"

	"megaphone/internal/typed"
)

func parseAccessLog(c *Config, _ *Values) error {
	switch c.AccessLog {
	case "on", "yes", "true", "stdout":
		return bad("access-log", c.AccessLog, "give stderr, off, or the path of a file")
	}
	return nil
}

func parseAccessSample(c *Config, v *Values) error {
	var ok bool
	if v.AccessSample, ok = parseSample(c.AccessSample); !ok {
		return bad("access-log-sample", c.AccessSample, "give 1/N, for example 1/100")
	}
	return nil
}

// parseSample parses 1/N.
func parseSample(s string) (n uint32, ok bool) {
	text, ok := strings.CutPrefix(s, "1/")
	v, err := typed.ParseInt(text)
	return uint32(v), ok && err == nil && v > 0 && v <= math.MaxUint32
}
