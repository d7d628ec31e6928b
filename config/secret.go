package config

import (
	"errors"
	"io/fs"
	"strings"

	"megaphone/internal/textfile"
)

// ReadSecret returns the first line of a secret file.
func ReadSecret(file string) ([]byte, error) {
	data, err := textfile.ReadSecret(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, bad("secret-file", file, "no such file: make one with "+
			"`head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`")
	case err != nil:
		return nil, bad("secret-file", file, reasonOf(err))
	}
	line, _, _ := strings.Cut(data, "\n")
	if line = strings.TrimSpace(line); len(line) < 16 {
		return nil, bad("secret-file", file, "its first line must be a secret of at least 16 characters")
	}
	return []byte(line), nil
}

// reasonOf returns a file error without the file's name, for messages that give the name already.
func reasonOf(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
