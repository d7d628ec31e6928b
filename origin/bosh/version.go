package bosh

import (
	"bytes"
	"strconv"
)

// version is a BOSH version. Its minor part is an integer: 1.11 is later than 1.6 (XEP-0124, section 7.1).
type version struct{ major, minor uint64 }

// ownVersion is the version that this package implements.
var ownVersion = version{1, 11}

// parseVersion parses "major.minor".
func parseVersion(value []byte) (v version, ok bool) {
	const max = 1_000_000
	major, minor, found := bytes.Cut(value, []byte("."))
	if !found {
		return v, false
	}
	if v.major, ok = parseNumber(major, max); !ok {
		return v, false
	}
	v.minor, ok = parseNumber(minor, max)
	return v, ok
}

// lower returns the lower of two versions.
func (v version) lower(w version) version {
	if v.major < w.major || v.major == w.major && v.minor < w.minor {
		return v
	}
	return w
}

func (v version) String() string {
	return strconv.FormatUint(v.major, 10) + "." + strconv.FormatUint(v.minor, 10)
}
