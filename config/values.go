package config

import (
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"reflect"
	"strings"

	"github.com/cespare/xxhash/v2"

	"megaphone/loop"
)

// Values is a valid configuration. Its own fields hide those of Config that have the same names, because these are
// texts. It is immutable.
type Values struct {
	Config // with its defaults, and web origins, domains and the path in their normal forms

	Listeners        []Clients      // at least one
	Origins          []OriginValues // at least one
	Secret           []byte         // shared with the origins; nil: none
	OldProof         bool
	Tags             Tags
	DescriptorTables loop.Tables
	LimitExempt      Networks
	LogLevel         slog.Level
	AccessSample     uint32 // log every Nth request; at least 1
	CheckHost        bool
	Ejection         bool
	StateDirectory   string

	bounds []bound // what the edge binds at start
}

// Tags is whether session IDs carry the tag of their origin.
type Tags uint8

const (
	TagsAuto Tags = iota // with more than one origin
	TagsOn
	TagsOff
)

// Values fills in the defaults, parses c, and reads the secret and the certificates. It returns a *KeyError for the
// first invalid key, with its value and a remedy.
func (c Config) Values() (*Values, error) {
	v, err := c.parse()
	if err != nil {
		return nil, err
	}
	if v.Secret = c.Secret; v.Secret == nil && c.SecretFile != "" {
		if v.Secret, err = ReadSecret(c.SecretFile); err != nil {
			return nil, err
		}
	}
	if err := v.readTLS(); err != nil {
		return nil, err
	}
	if err := v.readRoots(); err != nil {
		return nil, err
	}
	return v, nil
}

// parse is Values without the contents of other files.
func (c Config) parse() (*Values, error) {
	v := &Values{Config: c.WithDefaults()}
	if err := parseKeys(configKeys, "", &v.Config, v); err != nil {
		return nil, err
	}
	if err := v.checkAuthorities(); err != nil {
		return nil, err
	}
	return v, nil
}

// After returns v as the successor of old: keys that need a restart keep their old values. restart has the paths of
// those that differ. It returns an error if the rest of v does not fit the values that stay.
func (v *Values) After(old *Values) (merged *Values, restart []string, err error) {
	c := v.Config.WithDefaults() // its own lists
	restart = keepForRestart(configKeys, "", &old.Config, &c)
	if merged, err = c.parse(); err != nil {
		return nil, restart, fmt.Errorf("%w (%s needs a restart)", err, strings.Join(restart, ", "))
	}
	merged.Secret = v.Secret
	merged.readLike(v, old)
	return merged, restart, errors.Join(merged.readTLS(), merged.readRoots())
}

// Hash covers all keys that a file may have, so edges with the same hash have the same configuration.
func (c *Config) Hash() uint64 {
	var h hash.Hash64 = xxhash.New()
	for i := range configKeys {
		k := &configKeys[i]
		fmt.Fprintf(h, "%s=%+v\n", k.Name, reflect.ValueOf(k.Value(c)).Elem())
	}
	return h.Sum64()
}
