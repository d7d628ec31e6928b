// Package textfile reads text files that people edit: configuration, secrets, accounts.
//
// Editors may add a byte order mark at the start and CR LF at the ends of lines. Read removes both, so that no reader
// sees them. UTF-16 is an error with a remedy, because readers of UTF-8 would each misread it in their own way.
package textfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxBytes bounds a file: some 300,000 accounts.
const maxBytes = 64 << 20

// errUTF16 is the reason if a file is UTF-16 or UTF-32.
var errUTF16 = errors.New("the file is UTF-16 or UTF-32: save it as UTF-8")

// Read returns a file's text without a byte order mark, its lines ending with LF.
func Read(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return read(f)
}

// refused wraps err in an error like those of package os, so that callers can tell the reason from the name.
func refused(f *os.File, err error) error { return &fs.PathError{Op: "read", Path: f.Name(), Err: err} }

func read(f *os.File) (string, error) {
	data, err := readAll(f)
	if err != nil {
		return "", err
	}
	text, err := normalize(string(data))
	if err != nil {
		return "", refused(f, err)
	}
	return text, nil
}

// ReadBytes returns the contents of a file that is not text.
func ReadBytes(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = refused(f, fmt.Errorf("the file has more than %d MiB", maxBytes>>20))
	}
	return data, err
}

// normalize returns text without a byte order mark, its lines ending with LF. It returns errUTF16 if text appears to be
// UTF-16 or UTF-32.
func normalize(text string) (string, error) {
	if isUTF16(text) {
		return "", errUTF16
	}
	return strings.ReplaceAll(strings.TrimPrefix(text, "\xEF\xBB\xBF"), "\r\n", "\n"), nil
}

// isUTF16 reports whether text begins with a mark of UTF-16 or UTF-32, or has zeros in every other byte from the start,
// like ASCII in UTF-16 without a mark.
func isUTF16(text string) bool {
	for _, mark := range []string{"\xFF\xFE", "\xFE\xFF", "\x00\x00\xFE\xFF"} {
		if strings.HasPrefix(text, mark) {
			return true
		}
	}
	const looked = 8
	if len(text) < looked {
		return false
	}
	var zeros [2]int
	for i := range looked {
		if text[i] == 0 {
			zeros[i%2]++
		}
	}
	return zeros[0] == 0 && zeros[1] == looked/2 || zeros[1] == 0 && zeros[0] == looked/2
}

// ReadSecret returns the text of a file with secrets, as Read does. It returns an error if every user may write or
// replace the file, because its contents then prove nothing.
func ReadSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := checkWriters(f); err != nil {
		return "", err
	}
	return read(f)
}

const (
	otherMayRead  fs.FileMode = 0o004
	otherMayWrite fs.FileMode = 0o002
)

func checkWriters(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() { // such as a pipe from a shell, which has no directory
		return err
	}
	if info.Mode()&otherMayWrite != 0 {
		return refused(f, errors.New("every user may write this file: chmod o-w it, and change the secret"))
	}
	dirs := []string{filepath.Dir(f.Name())}
	if real, err := filepath.EvalSymlinks(f.Name()); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		// In a sticky directory, such as /tmp, only a file's owner can replace it.
		if d, err := os.Stat(dir); err == nil && d.Mode()&otherMayWrite != 0 && d.Mode()&fs.ModeSticky == 0 {
			return refused(f, fmt.Errorf("every user may replace this file: chmod o-w %s, and change the secret", dir))
		}
	}
	return nil
}

// ReadableByAll reports whether every user may read a file, which then keeps no secret.
func ReadableByAll(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&otherMayRead != 0
}
