// Package peers runs Megaphone with other people's programs: a real ejabberd with mod_megaphone behind a built edge.
// scripts/ejabberd.sh starts a private one in a second or two. Without ejabberd the tests fail and say what to install.
//
//	dialogue (testdata/*.txt) ──┬── mod_bosh, over HTTP ────────────┐
//	                            ├── edge ──► mod_megaphone ─────────┼─► the same ejabberd
//	                            ├── edge with node tags ──► ... ────┤
//	                            └── edge ──► gateway ──► mod_bosh ──┘
//
// A dialogue is what one BOSH client says, request by request. It is played at each endpoint, and what comes back is
// compared step by step. What may differ is listed in differences_test.go, each with its reason; what is listed must
// occur. Another thing in front of ejabberd, or of another server, joins by being an endpoint.
package peers
