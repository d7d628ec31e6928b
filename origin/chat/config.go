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
	defaultCrowdUsers         = 200       // most recipients of a presence: 200 x 300 bytes = 60 KB of queue
	defaultMaxUsers           = 2_097_152 // twice the intended size of one instance
	defaultMaxResources       = 16        // sessions of one account
	defaultMaxAttempts        = 5         // RFC 6120, section 6.4.5, recommends 2 to 5 tries
	defaultMaxPresenceBytes   = 8192      // a presence is kept and multiplied by the crowd
	defaultMaxDirected        = 32        // remembered addressees of directed presence, per session
	defaultMailboxMessages    = 100       // per account
	defaultMailboxBytes       = 262_144   // per account: one message of the largest size
	defaultAllMailboxMessages = 100_000   // all accounts
	defaultAllMailboxBytes    = 67_108_864
	defaultMaxContacts        = 100        // per roster: presence goes to each contact's resources
	defaultMaxRequests        = 32         // contacts per account that only others have added
	defaultAllRosterBytes     = 67_108_864 // all rosters
	defaultMaxRooms           = 1000       // rooms at once
	defaultMaxOccupants       = 100        // per room: each message goes to every occupant
	defaultMaxJoined          = 32         // rooms per session
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

// demo reports whether any name with any password may log in.
func (c *Config) demo() bool { return c.Accounts == nil }

// Notice returns a warning for the log at start if anyone may log in, or "".
func (c *Config) Notice() string {
	if !c.demo() {
		return ""
	}
	return "demo: ANY name with ANY password can log in, and names are not protected; " +
		"give an accounts file to require passwords"
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.CrowdUsers, defaultCrowdUsers},
		{&c.MaxUsers, defaultMaxUsers},
		{&c.MaxResources, defaultMaxResources},
		{&c.MaxAttempts, defaultMaxAttempts},
		{&c.MaxPresenceBytes, defaultMaxPresenceBytes},
		{&c.MaxDirected, defaultMaxDirected},
		{&c.MailboxMessages, defaultMailboxMessages},
		{&c.MailboxBytes, defaultMailboxBytes},
		{&c.AllMailboxMessages, defaultAllMailboxMessages},
		{&c.AllMailboxBytes, defaultAllMailboxBytes},
		{&c.MaxContacts, defaultMaxContacts},
		{&c.MaxRequests, defaultMaxRequests},
		{&c.AllRosterBytes, defaultAllRosterBytes},
		{&c.MaxRooms, defaultMaxRooms},
		{&c.MaxOccupants, defaultMaxOccupants},
		{&c.MaxJoined, defaultMaxJoined},
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
	for _, name := range append([]string{c.withDefaults().Domain}, c.Aliases...) {
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
