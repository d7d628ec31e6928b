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
	DefaultCrowdUsers         = 200       // a presence is sent to at most so many: 200 x 300 bytes = 60 KB of queue
	DefaultMaxUsers           = 2_097_152 // twice what one instance is meant to hold
	DefaultMaxResources       = 16        // sessions of one account
	DefaultMaxAttempts        = 5         // RFC 6120, section 6.4.5, recommends 2 to 5 tries
	DefaultMaxPresenceBytes   = 8192      // a presence is kept and multiplied by the crowd
	DefaultMaxDirected        = 32        // remembered addressees of directed presence, a session
	DefaultMailboxMessages    = 100       // an account
	DefaultMailboxBytes       = 262_144   // an account: one message of the largest size
	DefaultAllMailboxMessages = 100_000   // all accounts
	DefaultAllMailboxBytes    = 67_108_864
	DefaultMaxContacts        = 100        // in a roster: presence goes to each contact's resources
	DefaultMaxRequests        = 32         // contacts of an account that only others have put there
	DefaultAllRosterBytes     = 67_108_864 // all rosters
	DefaultMaxRooms           = 1000       // rooms at once
	DefaultMaxOccupants       = 100        // of one room: what is said is sent to each
	DefaultMaxJoined          = 32         // rooms that one session is in
	maxResourceBytes          = 256        // of a resource that a client chooses: it is in every stanza that he sends
	maxMechanismBytes         = 20         // RFC 4422, section 3.1
	mailboxOverheadBytes      = 64         // counted for each kept message beyond its bytes
	anonymousPrefix           = "anon-"    // names made by ANONYMOUS; no account may begin so
	anonymousBytes            = 10         // of randomness in an anonymous name: 80 bits, 16 characters
	resourceBytes             = 5          // of randomness in a resource made here: 40 bits, 8 characters
)

// Config says what the chat serves. The zero value is the demo on localhost.
type Config struct {
	Domain  string   // what users' addresses end with; "" = localhost
	Aliases []string // other names of the same domain that clients may use; localhost always is one

	// Accounts says who may log in. nil is the demo: any name with any password, and anonymously.
	Accounts *Accounts
	// Anonymous allows ANONYMOUS besides an accounts file. The demo always does.
	Anonymous bool

	CrowdUsers   int // sessions that see each other; 0 = default, negative = none
	MaxUsers     int // logged in at once; 0 = default
	MaxResources int // sessions of one account; 0 = default
	MaxAttempts  int // SASL tries of a session; 0 = default

	MaxPresenceBytes   int // 0 = default
	MaxDirected        int // 0 = default
	MailboxMessages    int // 0 = default, negative = nothing is kept
	MailboxBytes       int // 0 = default
	AllMailboxMessages int // 0 = default
	AllMailboxBytes    int // 0 = default

	MaxContacts    int // 0 = default
	MaxRequests    int // 0 = default
	AllRosterBytes int // 0 = default
	MaxRooms       int // 0 = default
	MaxOccupants   int // 0 = default
	MaxJoined      int // 0 = default

	Version string           // answered to jabber:iq:version; "" = unknown
	Now     func() time.Time // nil = time.Now
	Random  io.Reader        // nil = crypto/rand
}

// Demo reports whether any name with any password is let in.
func (c *Config) Demo() bool { return c.Accounts == nil }

// Notice is what to tell at start about who may log in; "" when there is nothing to warn of.
func (c *Config) Notice() string {
	if !c.Demo() {
		return ""
	}
	return "demo: ANY name with ANY password can log in, and names are not protected; " +
		"give an accounts file to require passwords"
}

// WithDefaults fills in what is zero.
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

// Validate says what is wrong with c, with what would do. It does not need WithDefaults before.
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
