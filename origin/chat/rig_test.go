package chat

import (
	"encoding/base64"
	"strings"
	"testing"
)

func base64Text(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// payloadText decodes the text of a SASL element.
func payloadText(t *testing.T, payload, name string) string {
	t.Helper()
	var e element
	if !parseElement(&e, []byte(payload), nil) || !e.is(name, nsSASL) {
		t.Fatalf("got %q, want <%s/>", payload, name)
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(e.appendText(nil))))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
