package servers

// socketDialogues are dialogues over WebSocket, one step a line:
//
//	a > MESSAGE      socket a sends a message; sockets come into being when they are first used
//	a < N            the next N messages on a
//	a < close        the messages on a until the end, and the code of the close frame
//	a drop           the client loses socket a
//
// A line that begins with a dot continues the one before.
//
// In messages, besides the words of words(): $open, $close, $h, $previd (of the last <enabled/>), $fill(N).
var socketDialogues = map[string]string{
	"session": `
		a > $open
		a < 2
		a > $plain
		a < 1
		a > $open
		a < 2
		a > $bind
		a < 1
		a > <iq xmlns='jabber:client' type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>
		a < 1
		a > $ping
		a < 1
		a > <iq xmlns='jabber:client' type='get' id='d' to='localhost'>
		.<query xmlns='http://jabber.org/protocol/disco#items'/></iq>
		a < 1
		a > <iq xmlns='jabber:client' type='get' id='v' to='localhost'><query xmlns='jabber:iq:version'/></iq>
		a < 1
		a > <presence xmlns='jabber:client'><status>hä</status></presence>
		a < 1
		a > <message xmlns='jabber:client' type='chat' to='$user@localhost'>
		.<body>&lt;to &amp; me&gt; ☃</body></message>
		a < 1
		a > $close
		a < close`,
	"roster": `
		include log-in
		a > <iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>
		a < 1
		a > <iq xmlns='jabber:client' type='set' id='s'>
		.<query xmlns='jabber:iq:roster'><item jid='z@example.org'/></query></iq>
		a < 2
		a > <iq xmlns='jabber:client' type='set' id='t'>
		.<query xmlns='jabber:iq:roster'><item jid='z@example.org' subscription='remove'/></query></iq>
		a < 2
		a > $close
		a < close`,
	"failures": `
		a > $open
		a < 2
		a > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>
		a < 1
		a > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>
		a < 1
		a > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>?</auth>
		a < 1
		a > <abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
		a < 1
		a > $plain
		a < 1
		a > $open
		a < 2
		a > $bind
		a < 1
		a > <iq xmlns='jabber:client' type='get' id='1' to='$user@localhost/gone'><ping xmlns='urn:xmpp:ping'/></iq>
		a < 1
		a > <iq xmlns='jabber:client' type='get' id='2'><query xmlns='urn:unknown'/></iq>
		a < 1
		a > <iq xmlns='jabber:client' type='odd' id='3'/>
		a < 1
		a > <iq xmlns='jabber:client' type='get' id='4' to='@@@'/>
		a < 1
		a > <presence xmlns='jabber:client' type='odd'/>
		a < 1
		a > <message to='$user@localhost'><body>no namespace</body></message>
		a > $ping
		a < 1
		a > $close
		a < close`,
	"anonymous": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='anon.localhost' version='1.0'/>
		a < 2
		a > $anonymous
		a < 1
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='anon.localhost' version='1.0'/>
		a < 2
		a > $bind
		a < 1
		a > $close
		a < close`,
	"unknown host": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='elsewhere.example' version='1.0'/>
		a < close`,
	"no host": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>
		a < close`,
	"old version": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost'/>
		a < 1
		a > $close
		a < close`,
	"new version": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='2.0'/>
		a < close`,
	"language": `
		a > <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0' xml:lang='de'/>
		a < 2
		a > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>
		a < 1
		a > $close
		a < close`,
	"closed at once": `
		a > $close
		a < close`,
	"stanza first": `
		a > <iq xmlns='jabber:client' type='get' id='1'/>
		a < close`,
	"stanza before log-in": `
		a > $open
		a < 2
		a > <message xmlns='jabber:client' to='$user@localhost'/>
		a < close`,
	"not well-formed": `
		include log-in
		a > <a></b>
		a < close`,
	"no XML at first": `
		a > <
		a < close`,
	"two elements": `
		include log-in
		a > <presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>
		a < close`,
	"stream error of the client": `
		include log-in
		a > <stream:error xmlns:stream='http://etherx.jabber.org/streams'>
		.<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>
		a < close`,
	"too large": `
		include log-in
		a > <message xmlns='jabber:client' to='$user@localhost/none' type='headline'>
		.<body>$fill(263000)</body></message>
		a > $ping
		a < 1
		a drop`,
	"second resource": `
		include log-in
		b > $open
		b < 2
		b > $plain
		b < 1
		b > $open
		b < 2
		b > $bind
		a < close
		b < 1
		b > $close
		b < close`,
	"management": `
		include log-in
		a > <r xmlns='urn:xmpp:sm:3'/>
		a < 1
		a > <enable xmlns='urn:xmpp:sm:3' resume='true' max='60'/>
		a < 1
		a > <enable xmlns='urn:xmpp:sm:3'/>
		a < 1
		a > <r xmlns='urn:xmpp:sm:3'/>
		a < 1
		a > $ping
		a < 2
		a > <a xmlns='urn:xmpp:sm:3' h='1'/>
		a > <r xmlns='urn:xmpp:sm:3'/>
		a < 1
		a > <a xmlns='urn:xmpp:sm:3' h='x'/>
		a < 1
		a > <a xmlns='urn:xmpp:sm:3' h='9'/>
		a < close`,
	"resumption": `
		include log-in
		a > <enable xmlns='urn:xmpp:sm:3' resume='true'/>
		a < 1
		a > $ping
		a < 2
		a drop
		b > $open
		b < 2
		b > $plain
		b < 1
		b > $open
		b < 2
		b > <resume xmlns='urn:xmpp:sm:3' h='0' previd='nothing'/>
		b < 1
		b > <resume xmlns='urn:xmpp:sm:3' h='0' previd='$previd'/>
		b < 3
		b > <a xmlns='urn:xmpp:sm:3' h='1'/>
		b > <presence xmlns='jabber:client'/>
		b < 2
		b > $close
		b < close`,
}

// socketLogIn is what "include log-in" stands for.
const socketLogIn = `
		a > $open
		a < 2
		a > $plain
		a < 1
		a > $open
		a < 2
		a > $bind
		a < 1`

// wantedOfSockets lists every difference between ejabberd's own WebSockets and those through an edge, with its reason.
// ends is the version of ejabberd in which it must occur, or "" for all.
var wantedOfSockets = []difference{
	{"", "*", "code 1000", "code 1008",
		"RFC 6455 section 7.4.1: 1000 means that the purpose was fulfilled. A stream error is a violated policy."},
	{"", "too large", "<iq *id='ping'*", "<stream:error *<policy-violation *",
		"RFC 6120 section 4.9.3.14: ejabberd's WebSockets do not look at max_stanza_size."},

	// RFC 7395 section 3.6: <close/> is answered by <close/>, at any time.
	{"23.01", "closed at once", "code 1000", "<close *", "ejabberd 23.01 closes the WebSocket,"},
	{"23.01", "closed at once", "(nothing)", "code 1000", "and later ones do as here."},

	// RFC 6120 section 4.9.3.13: input that is no XML gets an error. ejabberd 23.01 only says good-bye.
	{"23.01", "not well-formed", "<close *", "<stream:error *<not-well-formed *", "The error comes first,"},
	{"23.01", "not well-formed", "code 1000", "<close *", "then <close/>,"},
	{"23.01", "not well-formed", "(nothing)", "code 1008", "and the code."},
	{"23.01", "two elements", "<close *", "<stream:error *<not-well-formed *", "RFC 7395 section 3.3.3: the same,"},
	{"23.01", "two elements", "code 1000", "<close *", "and this,"},
	{"23.01", "two elements", "(nothing)", "code 1008", "and this."},
	{"23.01", "no XML at first", "<close *", "<open *", "RFC 7395 section 3.4: errors come in a stream,"},
	{"23.01", "no XML at first", "code 1000", "<stream:error *<not-well-formed *", "which is opened for it,"},
	{"23.01", "no XML at first", "(nothing)", "<close *", "and closed,"},
	{"23.01", "no XML at first", "(nothing)", "code 1008", "with this code."},
	{"23.01", "stanza first", "code 1000", "<open *", "ejabberd 23.01 says nothing at all,"},
	{"23.01", "stanza first", "(nothing)", "<stream:error *<invalid-xml *",
		"but RFC 6120 section 4.9.3 wants an error,"},
	{"23.01", "stanza first", "(nothing)", "<close *", "and RFC 7395 section 3.5 this behind it,"},
	{"23.01", "stanza first", "(nothing)", "code 1008", "and this."},
}
