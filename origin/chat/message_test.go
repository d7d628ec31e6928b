package chat

import (
	"strconv"
	"testing"
)

// TestMessageDelivery is the table of RFC 6121, section 8.5.4, with the choices of message.go. For each state of the
// recipient's account and each address it has the result for the types normal, chat, groupchat, headline and error.
//
//	1, 2, 12  the resources that get it     K  kept for later     R  refused     -  dropped
func TestMessageDelivery(t *testing.T) {
	types := []string{"normal", "chat", "groupchat", "headline", "error", "", "strange"}
	for _, tc := range []struct {
		name       string
		priorities []string // of resources r1, r2, ...; "none": bound without presence
		to         string
		want       [7]string
	}{
		{"no account/bare", nil, "anon-nobody@example.org", [7]string{"R", "R", "R", "-", "-", "R", "R"}},
		{"no account/full", nil, "anon-nobody@example.org/r1", [7]string{"R", "R", "R", "-", "-", "R", "R"}},
		{"nobody there/bare", nil, "bob@example.org", [7]string{"K", "K", "R", "-", "-", "K", "K"}},
		{"nobody there/full", nil, "bob@example.org/r1", [7]string{"R", "K", "R", "-", "-", "R", "R"}},
		{"without presence/bare", []string{"none"}, "bob@example.org", [7]string{"K", "K", "R", "-", "-", "K", "K"}},
		{"without presence/full match", []string{"none"}, "bob@example.org/r1",
			[7]string{"1", "1", "1", "1", "1", "1", "1"}},
		{"negative/bare", []string{"-1", "-5"}, "bob@example.org", [7]string{"K", "K", "R", "-", "-", "K", "K"}},
		{"negative/full match", []string{"-1", "-5"}, "bob@example.org/r2",
			[7]string{"2", "2", "2", "2", "2", "2", "2"}},
		{"negative/full no match", []string{"-1"}, "bob@example.org/r9", [7]string{"R", "K", "R", "-", "-", "R", "R"}},
		{"one/bare", []string{"0"}, "bob@example.org", [7]string{"1", "1", "R", "1", "-", "1", "1"}},
		{"one/full match", []string{"0"}, "bob@example.org/r1", [7]string{"1", "1", "1", "1", "1", "1", "1"}},
		{"one/full no match", []string{"0"}, "bob@example.org/r9", [7]string{"R", "1", "R", "-", "-", "R", "R"}},
		{"several/bare", []string{"0", "7", "-1"}, "bob@example.org",
			[7]string{"12", "12", "R", "12", "-", "12", "12"}},
		{"several/full match", []string{"0", "7", "-1"}, "bob@example.org/r3",
			[7]string{"3", "3", "3", "3", "3", "3", "3"}},
		{"several/full no match", []string{"0", "7", "-1"}, "bob@example.org/r9",
			[7]string{"R", "12", "R", "-", "-", "R", "R"}},
		{"several/capitals and alias", []string{"0", "7"}, "BOB@LocalHost",
			[7]string{"12", "12", "R", "12", "-", "12", "12"}},
		{"elsewhere", []string{"0"}, "bob@example.net", [7]string{"R", "R", "R", "R", "-", "R", "R"}},
		{"malformed", []string{"0"}, "bob@example.org/", [7]string{"R", "R", "R", "R", "-", "R", "R"}},
		{"the server", nil, "example.org", [7]string{"R", "R", "R", "-", "-", "R", "R"}},
	} {
		for i, kind := range types {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				w := newWorld(t, testConfig())
				a := w.login("a", "alice", "x")
				var resources []*peer
				for n, priority := range tc.priorities {
					r := "r" + strconv.Itoa(n+1)
					p := w.login(r, "bob", r)
					if priority != "none" {
						w.send(p, "<presence xmlns='jabber:client'><priority>"+priority+"</priority></presence>")
					}
					resources = append(resources, p)
				}
				for _, p := range resources {
					p.sent = nil
				}
				attribute := " type='" + kind + "'"
				if kind == "" {
					attribute = ""
				}
				w.send(a, "<message xmlns='jabber:client' to='"+tc.to+"'"+attribute+"><body>hi</body></message>")
				got := ""
				for n, p := range resources {
					if len(p.sent) > 0 {
						got += strconv.Itoa(n + 1)
					}
				}
				if w.s.figures().MailboxMessages > 0 {
					got += "K"
				}
				if len(a.sent) > 0 {
					got += "R"
				}
				if got == "" {
					got = "-"
				}
				if got != tc.want[i] {
					t.Errorf("type %q to %s: got %s, want %s", kind, tc.to, got, tc.want[i])
				}
			})
		}
	}
}
