// Package config turns what operators write into the checked configuration of an edge.
//
//	file, flags -> Config, as written -> Values, parsed
//
// Each key is a row in one table (keys.go): its name, words, bounds, field, the function that parses it, and whether a
// reload may change it. The parser of the file, the checks, the flags, the commented example and the hash all follow
// that table. A Config holds texts and numbers as they were given. Values goes through the table once and parses each
// text where it checks it, so a user of Values finds networks, levels and the secret themselves, and has nothing left
// to check.
//
// Errors are of type *KeyError, with key, value and remedy. File adds the line and a caret.
package config
