package chat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

func TestAccountsFile(t *testing.T) {
	salted, err := saltedLine("dave", "s$cret:with colon", defaultIterations)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "accounts")
	text := "# who may log in\n\nalice:secret\r\nBob: spaces count \n" + salted + "\ncarol:pass:word\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := LoadAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(a.names, " "); got != "alice bob carol dave" || a.len() != 4 {
		t.Errorf("names %s", got)
	}
	for _, tc := range []struct {
		name, password string
		want           bool
	}{
		{"alice", "secret", true}, {"alice", "Secret", false}, {"alice", "", false}, {"bob", " spaces count ", true},
		{"carol", "pass:word", true}, {"dave", "wrong", false}, {"dave", "s$cret:with colon", true},
		{"dave", "s$cret:with colon", true}, {"dave", "wrong", false}, {"erin", "secret", false},
	} {
		if got := a.check(tc.name, tc.password); got != tc.want {
			t.Errorf("%s with %q: %v", tc.name, tc.password, got)
		}
	}
}

func TestAccountsFileErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "f: no accounts: write one name:password a line"},
		{"# only\n\n", "f: no accounts"},
		{"alice", "f:1: no password: write name:password"},
		{"\n\nalice:", "f:3: no password"},
		{":pw", `f:1: name "" cannot be part of an address`},
		{"a b:pw", `f:1: name "a b" cannot be part of an address: use letters`},
		{"alice@example.org:pw", "f:1: name \"alice@example.org\" has a domain: write only the part before the @"},
		{"anon-x:pw", `f:1: name "anon-x" begins with "anon-", which is reserved for anonymous users`},
		{"alice:a\nAlice:b", `f:2: name "alice" is listed already: remove one of the lines`},
		{"alice:\x01", `f:1: name "alice": the password has characters that SASLprep forbids`},
		{"alice:SCRAM-SHA-256$4096:c2FsdA==", `f:1: name "alice": malformed salted password: write SCRAM-SHA-256$`},
		{"alice:SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA", "f:1: name \"alice\": malformed salted password"},
		{"alice:SCRAM-SHA-256$1:c2FsdA==$AAAA:AAAA", `f:1: name "alice": 1 iterations: use 4096 to 200000`},
		{"alice:SCRAM-SHA-256$many:c2FsdA==$AAAA:AAAA", "f:1: name \"alice\": malformed salted password"},
		{"alice:SCRAM-SHA-512$4096:c2FsdA==$AAAA:AAAA", `mechanism "SCRAM-SHA-512" is unknown: use SCRAM-SHA-256`},
		{"alice:SCRAM-$x", "malformed salted password"},
		{strings.Repeat("x", 70_000), "f:1: bufio.Scanner: token too long: a line holds one name and password"},
	} {
		_, err := readAccounts(strings.NewReader(tc.text), "f")
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.40q: got %v, want %s", tc.text, err, tc.want)
		}
	}
	if _, err := LoadAccounts(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, err := saltedLine("a b", "pw", defaultIterations); err == nil {
		t.Error("a line was made of a name that is none")
	}
}

// TestScram logs in with the library's client by each mechanism, for a password that was plain text in the file and for
// a salted one.
func TestScram(t *testing.T) {
	salted, err := saltedLine("dave", "pw2", defaultIterations)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := readAccounts(strings.NewReader("Alice:pw1\n"+salted), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, user, password, authzid string
		hash                          scram.HashGeneratorFcn
		mechanism, want               string
	}{
		{"sha-256", "alice", "pw1", "", scram.SHA256, "SCRAM-SHA-256", "alice@example.org"},
		{"sha-1", "alice", "pw1", "", scram.SHA1, "SCRAM-SHA-1", "alice@example.org"},
		{"capitals", "ALICE", "pw1", "", scram.SHA256, "SCRAM-SHA-256", "alice@example.org"},
		{"own authzid", "alice", "pw1", "alice@example.org", scram.SHA256, "SCRAM-SHA-256", "alice@example.org"},
		{"salted", "dave", "pw2", "", scram.SHA256, "SCRAM-SHA-256", "dave@example.org"},
		{"salted, other hash", "dave", "pw2", "", scram.SHA1, "SCRAM-SHA-1", "not-authorized"},
		{"wrong password", "alice", "pw2", "", scram.SHA256, "SCRAM-SHA-256", "not-authorized"},
		{"nobody", "erin", "pw1", "", scram.SHA256, "SCRAM-SHA-256", "not-authorized"},
		{"other authzid", "alice", "pw1", "dave@example.org", scram.SHA256, "SCRAM-SHA-256", "invalid-authzid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Accounts = accounts
			w := newWorld(t, cfg)
			p := w.open("a")
			features := p.read()
			if !strings.Contains(features, "<mechanism>"+tc.mechanism+"</mechanism>") {
				t.Fatal(features)
			}
			client, err := tc.hash.NewClient(tc.user, tc.password, tc.authzid)
			if err != nil {
				t.Fatal(err)
			}
			talk := client.NewConversation()
			first, err := talk.Step("")
			if err != nil {
				t.Fatal(err)
			}
			w.send(p, "<auth xmlns='"+nsSASL+"' mechanism='"+tc.mechanism+"'>"+base64Text(first)+"</auth>")
			proof, err := talk.Step(payloadText(t, p.read(), "challenge"))
			if err != nil {
				t.Fatal(err)
			}
			w.send(p, "<response xmlns='"+nsSASL+"'>"+base64Text(proof)+"</response>")
			answer := p.read()
			if !strings.HasPrefix(answer, "<success") {
				if want := "<failure xmlns='" + nsSASL + "'><" + tc.want + "/></failure>"; answer != want {
					t.Errorf("got %s, want %s", answer, want)
				}
				return
			}
			if _, err := talk.Step(payloadText(t, answer, "success")); err != nil || !talk.Valid() {
				t.Errorf("the server did not prove that it knows the password: %v", err)
			}
			if p.c.jid != tc.want {
				t.Errorf("is %s, want %s", p.c.jid, tc.want)
			}
		})
	}
}

// TestUnknownNameLooksKnown: the salt of a name that does not exist is the same at each try.
func TestUnknownNameLooksKnown(t *testing.T) {
	a, err := readAccounts(strings.NewReader("alice:pw"), "test")
	if err != nil {
		t.Fatal(err)
	}
	first, second := a.credentials(scramSHA256, "erin"), a.credentials(scramSHA256, "erin")
	other, known := a.credentials(scramSHA256, "frank"), a.credentials(scramSHA256, "alice")
	if first.Salt != second.Salt || first.Salt == other.Salt || len(first.Salt) != len(known.Salt) ||
		first.Iters != known.Iters {
		t.Errorf("salts %x %x %x %x", first.Salt, second.Salt, other.Salt, known.Salt)
	}
}

// TestAccountsOfAnyEditor: a byte order mark is not part of a name, nor CR of a password.
func TestAccountsOfAnyEditor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(path, []byte("\xEF\xBB\xBFanna:secret\r\nbert:secret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := LoadAccounts(path)
	if err != nil || !slices.Equal(a.names, []string{"anna", "bert"}) {
		t.Fatalf("%v, %v", a, err)
	}
	if err := os.Chmod(path, 0o606); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAccounts(path); err == nil || !strings.Contains(err.Error(), "every user may write") {
		t.Fatalf("a file that every user may write: %v", err)
	}
}
