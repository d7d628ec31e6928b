// Package megaphone is the root of the module and holds no code. Package internal/lint tests the rules of the tree.
//
// Megaphone is an edge proxy for BOSH (XEP-0124, XEP-0206), the HTTP long polls of XMPP web clients. It holds
// their requests, a million of them, and carries them to an XMPP server over a few multiplexed TCP links:
//
//	BOSH clients --HTTP/1.1--> edge --a few links--> origin
//
// Imports run downward only:
//
//	cmd/megaphone        the one binary
//	edge   origin/*   load     the proxy; what ends the links; the load generator. None imports another.
//	discovery            the addresses of its origins
//	config               the edge's configuration
//	       loop          reactors on epoll
//	table  codec/*  tuning
//
// codec/* and table know bytes and numbers only: they import no net, no time and no sync. The directory tests
// has tests of the built binary and may import anything. docs/decisions has the reasons.
package megaphone
