// Package servers runs Megaphone with real servers: ejabberd, with mod_megaphone or behind the gateway, and Prosody
// behind the gateway. scripts/ejabberd.sh and scripts/prosody.sh start private ones in a second or two. Without
// them the tests fail and say what to install.
//
//	dialogue (testdata/*.txt) ──┬── mod_bosh, over HTTP ────────────┐
//	                            ├── edge ──► mod_megaphone ─────────┼─► the same ejabberd
//	                            └── edge ──► gateway ──► mod_bosh ──┘
//	                            ┌── Prosody's mod_bosh, over HTTP ──┐
//	                            └── edge ──► gateway ──► mod_bosh ──┴─► the same Prosody
//
// A dialogue has the requests of one BOSH client. It is played at each endpoint, through an edge once with and once
// without tags in the session IDs, and the answers are compared step by step. The wanted differences are in
// differences_cases_test.go, each with its endpoints and its reason; each must occur. Dialogues that only one server
// can play are in testdata/ejabberd and testdata/prosody. Another program in front of a server joins as an endpoint.
package servers
