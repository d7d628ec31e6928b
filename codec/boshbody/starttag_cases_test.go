package boshbody

import (
	"fmt"
	"slices"
	"strings"
)

// bodyCase is one request body with its expected result.
type bodyCase struct {
	name  string
	in    string
	want  string // as formatted by describeBody; "" if refused
	err   *Error
	reply bool // only an origin's reply may look like this
	bench bool
}

const ns = " xmlns='" + Namespace + "'"

// tag returns a start tag with the given attributes besides rid='1' and the namespace.
func tag(attributes string) string { return "<body rid='1'" + ns + attributes + ">" }

// describeBody formats all that b holds of p: where the tag begins, its attributes, the rest.
func describeBody(b *StartTag, p []byte) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d", b.Start)
	if b.HasRID {
		fmt.Fprintf(&s, " rid=%d", b.RID)
	}
	if b.SID != nil {
		fmt.Fprintf(&s, " sid=%s", p[b.SIDStart:b.SIDEnd])
	}
	for _, a := range []struct {
		name  string
		value []byte
	}{{"to", b.To}, {"type", b.Type}, {"content", b.Content}, {"ver", b.Ver}, {"wait", b.Wait}, {"hold", b.Hold},
		{"requests", b.Requests}, {"condition", b.Condition}} {
		if a.value != nil {
			fmt.Fprintf(&s, " %s=%s", a.name, a.value)
		}
	}
	if b.Empty {
		s.WriteString(" empty")
	}
	return fmt.Sprintf("%s |%s", s.String(), p[b.TagEnd:])
}

// Bodies as real clients and origins send them.
var clientBodies = []bodyCase{
	{name: "session request", bench: true,
		in: "<body content='text/xml; charset=utf-8' secure='true' to='localhost' xml:lang='en' " +
			"xmpp:version='1.0' ver='1.6' xmlns:xmpp='urn:xmpp:xbosh' rid='2230163495637982' wait='60' hold='1'" +
			ns + "/>",
		want: "0 rid=2230163495637982 to=localhost content=text/xml; charset=utf-8 ver=1.6 wait=60 hold=1 empty |"},
	{name: "Strophe.js, a message", bench: true,
		in: "<body rid='3474104735'" + ns + " sid='0a1b2c3d4e5f60718293a4b5c6d7e8f9.k3x9'>" +
			"<message to='romeo@example.net' type='chat' xmlns='jabber:client'><body>Hi</body></message></body>",
		want: "0 rid=3474104735 sid=0a1b2c3d4e5f60718293a4b5c6d7e8f9.k3x9 " +
			"|<message to='romeo@example.net' type='chat' xmlns='jabber:client'><body>Hi</body></message></body>"},
	{name: "Strophe.js, nothing to say", in: "<body rid='3474104736'" + ns + " sid='s'/>",
		want: "0 rid=3474104736 sid=s empty |"},
	{name: "restart",
		in:   "<body rid='2' sid='s' to='h' xml:lang='en' xmpp:restart='true'" + ns + " xmlns:xmpp='urn:xmpp:xbosh'/>",
		want: "0 rid=2 sid=s to=h empty |"},
	{name: "terminate", in: tag(" sid='s' type='terminate'") + "<presence type='unavailable'/></body>",
		want: "0 rid=1 sid=s type=terminate |<presence type='unavailable'/></body>"},
	{name: "libpurple",
		in: "<body content='text/xml; charset=utf-8' secure='true' to='h' xml:lang='en' xmpp:version='1.0' " +
			"ver='1.10' xmlns:xmpp='urn:xmpp:xbosh' rid='1' wait='60' hold='1' " +
			"xmlns=\"http://jabber.org/protocol/httpbind\"></body>",
		want: "0 rid=1 to=h content=text/xml; charset=utf-8 ver=1.10 wait=60 hold=1 |</body>"},
	{name: "an origin's reply", bench: true, reply: true, in: "<body xmlns='http://jabber.org/protocol/httpbind' " +
		"sid='5d3cc8d6a4bd9dcb' wait='60' requests='2' inactivity='30' hold='1' ver='1.11' from='localhost' " +
		"secure='true' authid='14' xmlns:xmpp='urn:xmpp:xbosh' " +
		"xmlns:stream='http://etherx.jabber.org/streams' xmpp:version='1.0'>" +
		"<stream:features/></body>", want: "0 sid=5d3cc8d6a4bd9dcb ver=1.11 wait=60 hold=1 requests=2 |" +
		"<stream:features/></body>"},
	{name: "an origin's last reply", reply: true, in: "<body" + ns + " type='terminate' condition='item-not-found'/>",
		want: "0 type=terminate condition=item-not-found empty |"},
	{name: "a reply with a rid", reply: true, in: "<body" + ns + " rid='x'/>", want: "0 empty |"},
}

// Text before and around the tag.
var plainBodies = []bodyCase{
	{name: "byte order mark", in: "\xEF\xBB\xBF" + tag(""), want: "3 rid=1 |"},
	{name: "white space", in: " \t\r\n" + tag(""), want: "4 rid=1 |"},
	{name: "declaration", in: "<?xml version='1.0'?>" + tag(""), want: "21 rid=1 |"},
	{name: "whole declaration",
		in:   "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\" standalone='no' ?>\n" + tag(""),
		want: "59 rid=1 |"},
	{name: "declaration of 1.1", in: "<?xml version = '1.1' standalone='yes'?>" + tag(""), want: "40 rid=1 |"},
	{name: "white space before the declaration", in: "\n<?xml version='1.0' encoding='UTF-8'?>" + tag(""),
		want: "39 rid=1 |"},
	{name: "the payload is not looked at", in: tag("") + "<!-- & <\x00 \xFF </nobody",
		want: "0 rid=1 |<!-- & <\x00 \xFF </nobody"},
	{name: "nothing after the tag", in: tag(""), want: "0 rid=1 |"},
	{name: "white space everywhere", in: "<body\n rid\t= '1'\r\nxmlns =\n\"" + Namespace + "\"\t/>",
		want: "0 rid=1 empty |"},
	{name: "other quotes inside a value", in: tag(` to='"' ver="'"`), want: `0 rid=1 to=" ver=' |`},
	{name: "'>' and '/>' inside a value", in: tag(" to='>/>'"), want: "0 rid=1 to=>/> |"},
	{name: "entity references stay", in: tag(" sid='a&amp;b' to='&#x61;&apos;'"),
		want: "0 rid=1 sid=a&amp;b to=&#x61;&apos; |"},
	{name: "white space in a value stays", in: tag(" to='a\t\r\n b'"), want: "0 rid=1 to=a\t\r\n b |"},
	{name: "values beyond ASCII", in: tag(" to='\xC3\xA9.example'"), want: "0 rid=1 to=\xC3\xA9.example |"},
	{name: "empty values", in: tag(" sid='' to=''"), want: "0 rid=1 sid= to= |"},
	{name: "unknown attributes", in: tag(" a='1' B-._0='2' \xC3\xA9='3' sidd='4'"), want: "0 rid=1 |"},
	{name: "attributes of other namespaces", in: tag(" xmlns:a='u' a:sid='x' a:rid='y' a:xmlns='z'"),
		want: "0 rid=1 |"},
	{name: "names differ by case", in: tag(" SID='x' Sid='y' sid='z'"), want: "0 rid=1 sid=z |"},
	{name: "prefix", in: "<h:body xmlns:h='" + Namespace + "' rid='1' xmlns='jabber:client'/>",
		want: "0 rid=1 empty |"},
	{name: "prefix declared last", in: "<a-b:body rid='1' xmlns:c='u' xmlns:a-b='" + Namespace + "'>",
		want: "0 rid=1 |"},
	{name: "smallest rid", in: "<body rid='0'" + ns + ">", want: "0 rid=0 |"},
	{name: "largest rid", in: "<body rid='9007199254740991'" + ns + ">", want: "0 rid=9007199254740991 |"},
	{name: "rid with zeros", in: "<body rid='00000000000000000000000000005'" + ns + ">", want: "0 rid=5 |"},
	{name: "64 attributes", in: tag(manyAttributes(62)), want: "0 rid=1 |"},
}

// Bodies that are refused.
var badBodies = []bodyCase{
	{name: "nothing", in: "", err: errNoElement},
	{name: "white space alone", in: " \r\n", err: errNoElement},
	{name: "a mark alone", in: "\xEF\xBB\xBF", err: errNoElement},
	{name: "half a mark", in: "\xEF\xBB<body", err: errText},
	{name: "UTF-16", in: "\xFF\xFE<\x00b\x00", err: errText},
	{name: "text", in: "hello", err: errText},
	{name: "a form", in: "body=%3Cbody%3E", err: errText},
	{name: "JSON", in: `{"body":1}`, err: errText},
	{name: "text before the tag", in: "x" + tag(""), err: errText},
	{name: "NUL before the tag", in: "\x00" + tag(""), err: errText},
	{name: "comment first", in: "<!-- x -->" + tag(""), err: errComment},
	{name: "comment after the declaration", in: "<?xml version='1.0'?><!-- x -->" + tag(""), err: errComment},
	{name: "instruction", in: "<?php x ?>" + tag(""), err: errInstruction},
	{name: "instruction that begins like a declaration", in: "<?xml-stylesheet href='x'?>" + tag(""),
		err: errInstruction},
	{name: "DTD", in: "<!DOCTYPE body [<!ENTITY a 'b'>]>" + tag(""), err: errDTD},
	{name: "DTD after the declaration", in: "<?xml version='1.0'?>\n<!DOCTYPE body>" + tag(""), err: errDTD},
	{name: "CDATA", in: "<![CDATA[x]]>" + tag(""), err: errDTD},
	{name: "two declarations", in: "<?xml version='1.0'?><?xml version='1.0'?>" + tag(""), err: errInstruction},
	{name: "declaration without version", in: "<?xml encoding='UTF-8'?>" + tag(""), err: errDeclaration},
	{name: "declaration of nothing", in: "<?xml ?>" + tag(""), err: errDeclaration},
	{name: "declaration of XML 2.0", in: "<?xml version='2.0'?>" + tag(""), err: errDeclaration},
	{name: "declaration of XML 1.", in: "<?xml version='1.'?>" + tag(""), err: errDeclaration},
	{name: "another encoding", in: "<?xml version='1.0' encoding='ISO-8859-1'?>" + tag(""), err: errDeclaration},
	{name: "UTF-7", in: "<?xml version='1.0' encoding='UTF-7'?>" + tag(""), err: errDeclaration},
	{name: "encoding twice", in: "<?xml version='1.0' encoding='utf-8' encoding='utf-8'?>" + tag(""),
		err: errDeclaration},
	{name: "encoding after standalone", in: "<?xml version='1.0' standalone='no' encoding='utf-8'?>" + tag(""),
		err: errDeclaration},
	{name: "standalone perhaps", in: "<?xml version='1.0' standalone='perhaps'?>" + tag(""), err: errDeclaration},
	{name: "unknown word in the declaration", in: "<?xml version='1.0' a='b'?>" + tag(""), err: errDeclaration},
	{name: "no space in the declaration", in: "<?xml version='1.0'encoding='utf-8'?>" + tag(""),
		err: errDeclaration},
	{name: "declaration without end", in: "<?xml version='1.0'", err: errDeclaration},
	{name: "declaration that ends as a tag", in: "<?xml version='1.0'>" + tag(""), err: errDeclaration},

	{name: "another root", in: "<message" + ns + " rid='1'/>", err: errRoot},
	{name: "a root that begins with body", in: "<bodyx" + ns + " rid='1'/>", err: errRoot},
	{name: "a root that is part of body", in: "<bod" + ns + " rid='1'/>", err: errRoot},
	{name: "a prefix that is body", in: "<body:x xmlns:body='" + Namespace + "' rid='1'/>", err: errRoot},
	{name: "BODY", in: "<BODY" + ns + " rid='1'/>", err: errRoot},
	{name: "stream", in: "<stream:stream xmlns='jabber:client'>", err: errRoot},
	{name: "end tag first", in: "</body>", err: errSyntax},
	{name: "space before the name", in: "< body" + ns + " rid='1'/>", err: errSyntax},
	{name: "no prefix before the colon", in: "<:body" + ns + " rid='1'/>", err: errSyntax},
	{name: "two colons", in: "<a:b:body" + ns + " rid='1'/>", err: errSyntax},
	{name: "no namespace", in: "<body rid='1'/>", err: errNamespace},
	{name: "empty namespace", in: "<body rid='1' xmlns=''/>", err: errNamespace},
	{name: "another namespace", in: "<body rid='1' xmlns='jabber:client'/>", err: errNamespace},
	{name: "namespace and a slash", in: "<body rid='1' xmlns='" + Namespace + "/'/>", err: errNamespace},
	{name: "namespace with an entity", in: "<body rid='1' xmlns='http:&#x2F;/jabber.org/protocol/httpbind'/>",
		err: errNamespace},
	{name: "namespace only under a prefix", in: "<body rid='1' xmlns:h='" + Namespace + "'/>", err: errNamespace},
	{name: "prefix not declared", in: "<h:body rid='1'" + ns + "/>", err: errNamespace},
	{name: "prefix of another namespace", in: "<h:body rid='1'" + ns + " xmlns:h='u' xmlns:hh='" + Namespace + "'/>",
		err: errNamespace},

	{name: "no rid", in: "<body" + ns + " sid='s' ver='1.6'/>", err: ErrNoRID},
	{name: "rid under a prefix", in: "<body" + ns + " x:rid='1'/>", err: ErrNoRID},
	{name: "empty rid", in: "<body" + ns + " rid=''/>", err: ErrRID},
	{name: "rid one too large", in: "<body" + ns + " rid='9007199254740992'/>", err: ErrRID},
	{name: "rid 2^64+1", in: "<body" + ns + " rid='18446744073709551617'/>", err: ErrRID},
	{name: "negative rid", in: "<body" + ns + " rid='-1'/>", err: ErrRID},
	{name: "rid with a plus", in: "<body" + ns + " rid='+1'/>", err: ErrRID},
	{name: "rid with a space", in: "<body" + ns + " rid=' 1'/>", err: ErrRID},
	{name: "rid with an entity", in: "<body" + ns + " rid='&#49;'/>", err: ErrRID},
	{name: "rid in hexadecimal", in: "<body" + ns + " rid='0x1'/>", err: ErrRID},

	{name: "sid twice", in: tag(" sid='a' sid='a'"), err: errRepeated},
	{name: "rid twice", in: tag(" rid='2'"), err: errRepeated},
	{name: "xmlns twice", in: tag(ns), err: errRepeated},
	{name: "unknown attribute twice", in: tag(" a:b='a' c='d' a:b='e'"), err: errRepeated},
	{name: "65 attributes", in: tag(manyAttributes(63)), err: errAttributes},
	{name: "'<' in a value", in: tag(" sid='a<b'"), err: errSyntax},
	{name: "NUL in a value", in: tag(" sid='a\x00b'"), err: errCharacter},
	{name: "ESC in a value", in: tag(" sid='a\x1Bb'"), err: errCharacter},
	{name: "malformed UTF-8 in a value", in: tag(" to='\xE9'"), err: errCharacter},
	{name: "malformed UTF-8 in a name", in: tag(" \xC3='a'"), err: errCharacter},
	{name: "an entity that is not predefined", in: tag(" to='&nbsp;'"), err: errReference},
	{name: "a bare ampersand", in: tag(" to='a&b'"), err: errReference},
	{name: "no quotes", in: tag(" sid=a"), err: errSyntax},
	{name: "back quotes", in: tag(" sid=`a`"), err: errSyntax},
	{name: "no value", in: tag(" sid"), err: errSyntax},
	{name: "no equals sign", in: tag(" sid 'a'"), err: errSyntax},
	{name: "two equals signs", in: tag(" sid=='a'"), err: errSyntax},
	{name: "no space between attributes", in: tag(" sid='a'to='b'"), err: errSyntax},
	{name: "no space after the name", in: "<body'1'>", err: errSyntax},
	{name: "slash alone", in: tag(" / "), err: errSyntax},
	{name: "attribute begins with a digit", in: tag(" 1='a'"), err: errSyntax},
	{name: "attribute begins with a hyphen", in: tag(" -a='a'"), err: errSyntax},
	{name: "attribute ends with a colon", in: tag(" a:='a'"), err: errSyntax},
	{name: "attribute begins with a colon", in: tag(" :a='a'"), err: errSyntax},
	{name: "attribute with two colons", in: tag(" a:b:c='a'"), err: errSyntax},
	{name: "local name begins with a digit", in: tag(" a:1='a'"), err: errSyntax},
	{name: "a tag in the tag", in: "<body rid='1' <x/>" + ns + ">", err: errSyntax},
	{name: "value without end", in: "<body rid='1'" + ns + " sid='a>", err: errNoElement},
}

var bodyCases = slices.Concat(clientBodies, plainBodies, badBodies)

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d=''", i)
	}
	return b.String()
}
