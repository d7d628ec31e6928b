package chat

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultDomain             = "localhost"
	DefaultCrowdUsers         = 200       // most recipients of a presence: 200 x 300 bytes = 60 KB of queue
	DefaultMaxUsers           = 2_097_152 // twice the intended size of one instance
	DefaultMaxResources       = 16        // sessions of one account
	DefaultMaxAttempts        = 5         // RFC 6120, section 6.4.5, recommends 2 to 5 tries
	DefaultMaxPresenceBytes   = 8192      // a presence is kept and multiplied by the crowd
	DefaultMaxDirected        = 32        // remembered addressees of directed presence, per session
	DefaultMailboxMessages    = 100       // per account
	DefaultMailboxBytes       = 262_144   // per account: one message of the largest size
	DefaultAllMailboxMessages = 100_000   // all accounts
	DefaultAllMailboxBytes    = 67_108_864
	DefaultMaxContacts        = 100        // per roster: presence goes to each contact's resources
	DefaultMaxRequests        = 32         // contacts per account that only others have added
	DefaultAllRosterBytes     = 67_108_864 // all rosters
	DefaultMaxRooms           = 1000       // rooms at once
	DefaultMaxOccupants       = 100        // per room: each message goes to every occupant
	DefaultMaxJoined          = 32         // rooms per session
	maxResourceBytes          = 256        // of a client's own resource, which all its stanzas carry
	maxMechanismBytes         = 20         // RFC 4422, section 3.1
	mailboxOverheadBytes      = 64         // counted for each kept message beyond its bytes
	anonymousPrefix           = "anon-"    // begins names made by ANONYMOUS; no account may begin so
	anonymousBytes            = 10         // of randomness in an anonymous name: 80 bits, 16 characters
	resourceBytes             = 5          // of randomness in a generated resource: 40 bits, 8 characters
)

// Config configures the chat. The zero value is the demo on localhost.
type Config struct {
	Domain  string   // the domain of users' addresses; "" = localhost
	Aliases []string // other names of the domain that clients may use, besides localhost

	// Accounts may log in. nil is the demo: any name with any password, or anonymously.
	Accounts *Accounts
	// Anonymous allows ANONYMOUS besides an accounts file. The demo always does.
	Anonymous bool

	CrowdUsers   int // sessions that see each other; 0 = default, negative = none
	MaxUsers     int // logged in at once; 0 = default
	MaxResources int // sessions of one account; 0 = default
	MaxAttempts  int // SASL tries of a session; 0 = default

	MaxPresenceBytes   int // 0 = default
	MaxDirected        int // 0 = default
	MailboxMessages    int // 0 = default, negative = messages are not kept
	MailboxBytes       int // 0 = default
	AllMailboxMessages int // 0 = default
	AllMailboxBytes    int // 0 = default

	MaxContacts    int // 0 = default
	MaxRequests    int // 0 = default
	AllRosterBytes int // 0 = default
	MaxRooms       int // 0 = default
	MaxOccupants   int // 0 = default
	MaxJoined      int // 0 = default

	Version string           // the answer to jabber:iq:version; "" = unknown
	Now     func() time.Time // nil = time.Now
	Random  io.Reader        // nil = crypto/rand
}

// Demo reports whether any name with any password may log in.
func (c *Config) Demo() bool { return c.Accounts == nil }

// Notice returns a warning for the log at start if anyone may log in, or "".
func (c *Config) Notice() string {
	if !c.Demo() {
		return ""
	}
	return "demo: ANY name with ANY password can log in, and names are not protected; " +
		"give an accounts file to require passwords"
}

// WithDefaults returns c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.CrowdUsers, DefaultCrowdUsers},
		{&c.MaxUsers, DefaultMaxUsers},
		{&c.MaxResources, DefaultMaxResources},
		{&c.MaxAttempts, DefaultMaxAttempts},
		{&c.MaxPresenceBytes, DefaultMaxPresenceBytes},
		{&c.MaxDirected, DefaultMaxDirected},
		{&c.MailboxMessages, DefaultMailboxMessages},
		{&c.MailboxBytes, DefaultMailboxBytes},
		{&c.AllMailboxMessages, DefaultAllMailboxMessages},
		{&c.AllMailboxBytes, DefaultAllMailboxBytes},
		{&c.MaxContacts, DefaultMaxContacts},
		{&c.MaxRequests, DefaultMaxRequests},
		{&c.AllRosterBytes, DefaultAllRosterBytes},
		{&c.MaxRooms, DefaultMaxRooms},
		{&c.MaxOccupants, DefaultMaxOccupants},
		{&c.MaxJoined, DefaultMaxJoined},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return c
}

// Validate returns an error that names the first invalid field and a remedy. It also accepts a Config without defaults.
func (c *Config) Validate() error {
	for _, name := range append([]string{c.WithDefaults().Domain}, c.Aliases...) {
		if _, ok := canonicalDomain(name); !ok || strings.ContainsAny(name, "@/ '\"<>&") {
			return fmt.Errorf("domain %q cannot be part of an address: use a host name such as chat.example.org", name)
		}
	}
	for _, d := range []struct {
		key   string
		value int
	}{
		{"MaxUsers", c.MaxUsers}, {"MaxResources", c.MaxResources}, {"MaxAttempts", c.MaxAttempts},
		{"MaxPresenceBytes", c.MaxPresenceBytes}, {"MaxDirected", c.MaxDirected}, {"MailboxBytes", c.MailboxBytes},
		{"AllMailboxMessages", c.AllMailboxMessages}, {"AllMailboxBytes", c.AllMailboxBytes},
		{"MaxContacts", c.MaxContacts}, {"MaxRequests", c.MaxRequests}, {"AllRosterBytes", c.AllRosterBytes},
		{"MaxRooms", c.MaxRooms}, {"MaxOccupants", c.MaxOccupants}, {"MaxJoined", c.MaxJoined},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s is %d: use a positive number, or 0 for the default", d.key, d.value)
		}
	}
	return nil
}
