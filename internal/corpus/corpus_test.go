package corpus

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][]any{
		"go test fuzz v1\n[]byte(\"a\\x80\\n\")\nuint16(42)\n":     {[]byte("a\x80\n"), uint16(42)},
		"go test fuzz v1\nstring(\"-- b --\")\n":                   {"-- b --"},
		"go test fuzz v1\nbyte('\\x03')\nbyte('\\'')\nbyte(' ')\n": {byte(3), byte('\''), byte(' ')},
		"go test fuzz v1\nuint8(255)\nuint32(7)\nuint64(1)\n":      {byte(255), uint32(7), uint64(1)},
	} {
		if got, err := parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, lines := range []string{"", "7\n", "uint8(256)\n", "uint8(1\n", "uint8(1, 2)\n", "uint8(x)\n"} {
		text := "go test fuzz v1\n" + lines
		if got, err := parse(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, text := range []string{"", "go test fuzz v2\nuint8(1)\n"} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
