package load

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestScramExample checks the conversation of RFC 5802, section 5.
func TestScramExample(t *testing.T) {
	t.Parallel()
	p, err := prove([]byte("n=user,r=fyko+d2lbbFgONRv9qkxdawL"), []byte("fyko+d2lbbFgONRv9qkxdawL"),
		[]byte("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"), "pencil")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.final), "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"+
		"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="; got != want {
		t.Errorf("the client says %s, want %s", got, want)
	}
	if got, want := string(p.signature), "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="; got != want {
		t.Errorf("the server has to say %s, want %s", got, want)
	}
}

func TestScramRefusesChallenges(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"", "r=abc", "r=abc,s=QSXC,i=1", "r=xbcd,s=QSXC,i=1", "r=abcd,s=!,i=1",
		"r=abcd,s=QSXC,i=0", "r=abcd,s=QSXC,i=many", fmt.Sprintf("r=abcd,s=QSXC,i=%d", maxRounds+1)} {
		if _, err := prove([]byte("n=u,r=abc"), []byte("abc"), []byte(challenge), "p"); err == nil {
			t.Errorf("%q was answered", challenge)
		}
	}
}

var fakeSASL = regexp.MustCompile(`<(?:auth|response) [^>]*>([^<]*)<`)

// TestLogInWithScram logs in, also when a lost answer makes the client send the same proof again. A server that does
// not know the password is rejected.
func TestLogInWithScram(t *testing.T) {
	t.Parallel()
	for _, honest := range []bool{true, false} {
		t.Run(fmt.Sprint("honest ", honest), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			bare := map[string]string{} // of each session; the script is called for one request at a time
			f.script = func(q *fakeRequest) *fakeAnswer {
				text, _ := base64.StdEncoding.DecodeString(first(fakeSASL, q.raw))
				say := func(element, text string) *fakeAnswer {
					return &fakeAnswer{body: fmt.Sprintf("<body %s><%s>%s</%s></body>", fakeNS, element,
						base64.StdEncoding.EncodeToString([]byte(text)), element)}
				}
				challenge := func() (nonce, text string) {
					_, nonce, _ = strings.Cut(bare[q.sid], ",r=")
					return nonce, "r=" + nonce + "more,s=QSXCR+Q6sek8bf92,i=64"
				}
				switch {
				case strings.Contains(q.raw, "<auth "):
					bare[q.sid], _ = strings.CutPrefix(string(text), "n,,")
					_, c := challenge()
					return say("challenge", c)
				case strings.Contains(q.raw, "<response ") && q.tries == 0:
					return &fakeAnswer{hangUp: true}
				case strings.Contains(q.raw, "<response "):
					nonce, c := challenge()
					p, err := prove([]byte(bare[q.sid]), []byte(nonce), []byte(c), "secret")
					if err != nil || string(p.final) != string(text) {
						return say("failure", "")
					}
					if !honest {
						p.signature[3]++
					}
					return say("success", string(p.signature))
				}
				return nil
			}
			r := try(t, f, Config{Sessions: 5, Login: LoginScram})
			if honest && (r.Verdict.Status != StatusFine || r.Requests["resent"] != 5) {
				t.Errorf("%+v %v", r.Verdict, r.Requests)
			}
			if !honest && (r.Sessions.Failed != 5 || r.Errors["login_failed"] != 5) {
				t.Errorf("%+v %v", r.Sessions, r.Errors)
			}
		})
	}
}
