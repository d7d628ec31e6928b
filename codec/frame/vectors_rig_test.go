package frame

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"megaphone/codec/internal/codectest"
)

// hexBytes is bytes written in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(p []byte) (err error) {
	*h, err = hex.DecodeString(string(p))
	return err
}

// vectors is testdata/frames.json: the results that every implementation of the link protocol must have for the same
// bytes. Its "about" describes the fields.
type vectors struct {
	About    []string        `json:"about"`
	Frames   []frameVector   `json:"frames"`
	Requests []requestVector `json:"requests"`
	Replies  []replyVector   `json:"replies"`
	Lines    []linesVector   `json:"lines"`
	IDs      []idsVector     `json:"ids"`
	MACs     []macVector     `json:"macs"`
	Proofs   []proofVector   `json:"proofs"`
	Hellos   []helloVector   `json:"hellos"`
	Welcomes []welcomeVector `json:"welcomes"`

	Opens        []openVector        `json:"opens"`
	Ends         []endVector         `json:"ends"`
	Credits      []creditsVector     `json:"credits"`
	StreamHellos []streamHelloVector `json:"stream_hellos"`
}

type openVector struct {
	Name     string   `json:"name"`
	Contents hexBytes `json:"contents"`
	Address  string   `json:"address"`
	Host     string   `json:"host"`
	Path     string   `json:"path"`
	Origin   string   `json:"origin"`
	Again    *bool    `json:"again"`
	Error    string   `json:"error"`
}

type endVector struct {
	Name     string   `json:"name"`
	Contents hexBytes `json:"contents"`
	Code     int      `json:"code"`
	Text     string   `json:"text"`
	Error    string   `json:"error"`
}

type creditsVector struct {
	Name    string `json:"name"`
	Args    string `json:"args"`
	Credits []struct {
		ID    string `json:"id"`
		Bytes int    `json:"bytes"`
	} `json:"credits"`
	Error bool `json:"error"`
}

type streamHelloVector struct {
	Name    string `json:"name"`
	Args    string `json:"args"`
	Streams bool   `json:"streams"`
	Window  int    `json:"window"`
	Error   bool   `json:"error"`
}

type frameVector struct {
	Name     string   `json:"name"`
	Hex      hexBytes `json:"hex"`
	Max      int      `json:"max"`
	Outcome  string   `json:"outcome"`
	ID       string   `json:"id"`
	Contents hexBytes `json:"contents"`
	Bytes    int      `json:"bytes"`
	Need     int      `json:"need"`
	Error    string   `json:"error"`
}

type requestVector struct {
	Name     string   `json:"name"`
	Contents hexBytes `json:"contents"`
	Address  *string  `json:"address"`
	Query    string   `json:"query"`
	Body     hexBytes `json:"body"`
	Error    string   `json:"error"`
}

type replyVector struct {
	Name     string   `json:"name"`
	Contents hexBytes `json:"contents"`
	Status   int      `json:"status"`
	Body     hexBytes `json:"body"`
	Error    string   `json:"error"`
}

type linesVector struct {
	Name     string       `json:"name"`
	Contents hexBytes     `json:"contents"`
	Lines    []lineVector `json:"lines"`
	Error    string       `json:"error"`
}

type lineVector struct {
	Verb string  `json:"verb"`
	Args *string `json:"args"`
}

type idsVector struct {
	Name  string   `json:"name"`
	Args  string   `json:"args"`
	IDs   []string `json:"ids"`
	Error bool     `json:"error"`
}

type macVector struct {
	Secret hexBytes `json:"secret"`
	Role   string   `json:"role"`
	A      hexBytes `json:"a"`
	B      hexBytes `json:"b"`
	Name   string   `json:"name"`
	MAC    hexBytes `json:"mac"`
}

type proofVector struct {
	Name   string   `json:"name"`
	Secret hexBytes `json:"secret"`
	Role   string   `json:"role"`
	Lines  []string `json:"lines"`
	Proof  hexBytes `json:"proof"`
}

type helloVector struct {
	Name  string `json:"name"`
	Args  string `json:"args"`
	Hello *struct {
		Version int      `json:"version"`
		Name    string   `json:"name"`
		Nonce   hexBytes `json:"nonce"`
		MAC     hexBytes `json:"mac"`
		Max     int      `json:"max"`
		Proof   hexBytes `json:"proof"`

		TakesQuery bool `json:"takes_query"`
		Instance   string
		Age        int
	} `json:"hello"`
	Error bool `json:"error"`
}

type welcomeVector struct {
	Name  string   `json:"name"`
	Args  string   `json:"args"`
	MAC   hexBytes `json:"mac"`
	Proof hexBytes `json:"proof"`
	Error bool     `json:"error"`
}

func linkVectors(t testing.TB) (v vectors) {
	t.Helper()
	p, err := os.ReadFile("testdata/frames.json")
	if err == nil {
		err = json.Unmarshal(p, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Frames) < 30 || len(v.Requests) < 10 || len(v.Replies) < 10 || len(v.Lines) < 10 || len(v.IDs) < 10 ||
		len(v.MACs) < 4 || len(v.Proofs) < 7 || len(v.Hellos) < 30 || len(v.Welcomes) < 5 ||
		len(v.Opens) < 20 || len(v.Ends) < 15 || len(v.Credits) < 10 || len(v.StreamHellos) < 10 {
		t.Fatal("vectors are missing from testdata/frames.json")
	}
	return v
}

// frameErrors maps the names of errors in the vectors to the errors.
var frameErrors = map[string]*Error{
	"length": errLength, "too-large": errTooLarge, "id": errID, "separator": errSeparator,
	"address": errAddress, "query": errQuery, "status": errStatus,
	"line": errLine, "verb": errVerb, "args": errArgs, "open": errOpen, "end": errEnd,
}

// frameOutcome returns the result of Parse as text.
func frameOutcome(t testing.TB, p []byte, max int) string {
	f, n, ok, err := Parse(p, max)
	switch {
	case err != nil:
		return "refused: " + err.Error()
	case !ok && n <= len(p):
		t.Fatalf("%q: needs %d bytes and has %d", p, n, len(p))
	case !ok:
		return fmt.Sprintf("needs %d", n)
	}
	codectest.Inside(t, p[:n], f.Contents)
	return fmt.Sprintf("%016x %x, %d bytes", f.ID, f.Contents, n)
}

func (v *frameVector) outcome() string {
	switch v.Outcome {
	case "frame":
		return fmt.Sprintf("%s %x, %d bytes", v.ID, []byte(v.Contents), v.Bytes)
	case "incomplete":
		return fmt.Sprintf("needs %d", v.Need)
	}
	return "refused: " + frameErrors[v.Error].Reason
}

func (v *frameVector) id() uint64 {
	id, _ := strconv.ParseUint(v.ID, 16, 64)
	return id
}
