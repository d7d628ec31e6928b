package textfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func inUTF16(text string, mark, big bool) string {
	var b strings.Builder
	if mark {
		text = "\uFEFF" + text
	}
	for _, u := range utf16.Encode([]rune(text)) {
		low, high := byte(u), byte(u>>8)
		if big {
			low, high = high, low
		}
		b.Write([]byte{low, high})
	}
	return b.String()
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{"", "", nil},
		{"a: b\nc: d\n", "a: b\nc: d\n", nil},
		{"a: b\r\nc: d\r\n", "a: b\nc: d\n", nil},
		{"\xEF\xBB\xBFa: b\r\nc: d", "a: b\nc: d", nil},
		{"\xEF\xBB\xBF", "", nil},
		{"a\rb\r", "a\rb\r", nil}, // only the pair ends a line
		{"a\xEF\xBB\xBFb", "a\xEF\xBB\xBFb", nil},
		{"x\x00binary secret", "x\x00binary secret", nil},
		{inUTF16("listen: x", true, false), "", errUTF16},
		{inUTF16("listen: x", true, true), "", errUTF16},
		{inUTF16("listen: x", false, false), "", errUTF16},
		{inUTF16("listen: x", false, true), "", errUTF16},
		{"\xFF\xFE\x00\x00l\x00\x00\x00", "", errUTF16},
		{"\x00\x00\xFE\xFF\x00\x00\x00l", "", errUTF16},
	} {
		got, err := Read(write(t, c.text, 0o600))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q is read as %q, %v", c.text, got, err)
		}
		if err == nil {
			if again, err := normalize(got); again != got && !strings.Contains(got, "\r") || err != nil {
				t.Errorf("%q once more: %q, %v", got, again, err)
			}
		}
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a directory is a text")
	}
}

func TestReadBoundsTheFile(t *testing.T) {
	name := write(t, "x", 0o600)
	if err := os.Truncate(name, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("%v", err)
	}
}

func TestSecretsThatEveryUserMayWriteAreRefused(t *testing.T) {
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "", 0o660: "",
		0o602: "may write", 0o666: "may write"} {
		_, err := ReadSecret(write(t, "secret", mode))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	open := write(t, "secret", 0o600)
	dir := filepath.Dir(open)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[os.FileMode]bool{0o755: false, 0o777: true, 0o777 | os.ModeSticky: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{open, link} {
			_, err := ReadSecret(name)
			if refused != (err != nil) || refused && !strings.Contains(err.Error(), "may replace") {
				t.Errorf("%s in a directory of mode %v: %v", name, mode, err)
			}
		}
	}
}

func TestReadableByAll(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if got := ReadableByAll(write(t, "secret", mode)); got != want {
			t.Errorf("mode %o: %v", mode, got)
		}
	}
}
