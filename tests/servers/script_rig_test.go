package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A dialogue is a text file, one step a line; a line that begins with white space continues the one before.
//
//	# words                     for people
//	> a BODY                    connection a posts a body; connections come into being when they are first used
//	raw a "HEAD" BODY           connection a sends a head in Go's syntax and a body; $length is the body's
//	< a STATUS TEXT             the answer on a has the status, and the text in its body
//	< a STATUS TEXT | STATUS TEXT   the same, first ejabberd's, then prosody's
//	roughly a STATUS TEXT       as "<", where it is the server's timing that decides what else is in the body
//	gather a N                  the answers on a, and to empty requests after it, until they have N elements in all
//	silent a TIME               no answer on a for so long
//	close a                     the client closes connection a
//	after TIME                  time passes
//	include FILE                the steps of another file
//
// In bodies and heads, besides the words of words():
//
//	$rid         the next request ID; the first is 1000
//	$last        the request ID that was used last; $last+N, $last-N
//	$sid         the session ID of the last answer that had one
//	$jid         the JID of the last answer that had one
//	$key(N)      the Nth of a key sequence (XEP-0124 section 15), $key(0) is the seed
//	$fill(N)     N letters
type step struct {
	where string // file:line
	verb  string
	conn  string
	rest  string
}

// readDialogue parses a dialogue of testdata; those that it includes are in testdata itself.
func readDialogue(t testing.TB, name string) (steps []step) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		where := fmt.Sprintf("%s:%d", name, i+1)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line[0] == ' ' || line[0] == '\t':
			if len(steps) == 0 {
				t.Fatalf("%s: nothing to go on with", where)
			}
			steps[len(steps)-1].rest += strings.TrimLeft(line, " \t")
		default:
			verb, rest, _ := strings.Cut(line, " ")
			s := step{where: where, verb: verb, rest: rest}
			if verb == "include" {
				steps = append(steps, readDialogue(t, rest)...)
				continue
			}
			if verb != "after" {
				s.conn, s.rest, _ = strings.Cut(rest, " ")
			}
			steps = append(steps, s)
		}
	}
	return steps
}

// expected is the text behind "<", for ejabberd or for prosody.
func (s step) expected(server string) (status, text string) {
	what, prosodys, both := strings.Cut(s.rest, " | ")
	if both && server == "prosody" {
		what = prosodys
	}
	status, text, _ = strings.Cut(what, " ")
	return status, text
}
