// Package chaos lets people chat through two edges and two origins while everything that can break does, and then
// accounts for every message.
//
//	clients === relay === edge 1 === relay === origin a (domain a.example)
//	         \/                   \/
//	clients === relay === edge 2 === relay === origin b (domain b.example)
//
// Each relay is a piece of wire that delays, dribbles, stalls, swallows, and cuts its bytes (by reset, by FIN, or in
// one direction only), each connection by a plan of its own. The conductor kills edges and origins, stops them for a
// time, and cuts all connections of a relay. All of it is drawn from a seed, which is logged: a failed run names its
// seed and prints the faults with their times. The same seed gives the same plan, though not the same interleaving.
//
// Clients follow XEP-0124: two requests at a time, a request that fails is sent again with the same rid (section 14.3)
// over any edge that answers, and answers are taken in the order of the rids.
//
// # The account
//
// Messages go from one session to another, on the same origin; those between two sessions are a flow, numbered from 0.
// At the end each message is exactly one of these:
//
//   - delivered: read by its reader's session, once, and after all earlier ones of its flow;
//   - moved: its reader's session had ended with its origin, and a later one of the same user, logged in again, read it
//     once (RFC 6121, section 8.5.3.2.1);
//   - failed: not delivered, never acknowledged (the request that carried it got no 200), and its author was told that
//     its session is over: the author knows that its last messages may not have arrived;
//   - returned: not delivered, and its author got it back as an error: the reader had gone;
//   - died with its reader: acknowledged and not delivered, because the reader's session ended first with its origin.
//     An XMPP server that keeps sessions in memory can promise no more, and the reader knows that its session is over.
//
// Anything else is a fault: a message twice, out of order, skipped, at the wrong reader, delivered and returned,
// acknowledged and not delivered while its reader lives. It is a fault, too, if a session ends whose origin was not
// killed meanwhile, whatever the faults of edges and wires, or if there is no chat when all is well again.
//
// # ejabberd
//
// TestEjabberd has a real ejabberd with mod_megaphone instead of the two origins. Its sessions sleep and wake, few at a
// time, while its shards, links and helpers are killed, its configuration is read again, and the module is stopped
// and started. It keeps messages for its users (RFC 6121, section 8.5.2.2.1), so the account is stricter:
//
//   - only the sessions of the shard that was killed may end, or those of the module's engine when it was stopped, and
//     their clients must be told a condition;
//   - only messages under way to a session of that shard, or in an answer that a broken wire lost as the session ended,
//     may die: all others go to a later session, in any order, or back to their author.
//
// With ejabberd's own engine no session may end, and nothing may come twice or to another reader. It may forget
// messages from and to a session that has sent a request again: see ledger.
package chaos
