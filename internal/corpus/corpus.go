// Package corpus keeps the seeds of a fuzz target in one archive, testdata/FuzzX.txtar, instead of a file for each.
//
// An element of the archive is a file of testdata/fuzz/FuzzX as go test writes it. An input that it has found becomes a
// seed when it is appended to the archive under its name.
package corpus

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// header is the first line of an element.
const header = "go test fuzz v1"

// Add adds the seeds of f's archive.
func Add(f *testing.F) {
	f.Helper()
	name := filepath.Join("testdata", f.Name()+".txtar")
	archive, err := txtar.ParseFile(name)
	if err != nil {
		f.Fatal(err)
	}
	if len(archive.Files) == 0 {
		f.Fatalf("%s has no seeds", name)
	}
	for _, file := range archive.Files {
		seed, err := parse(string(file.Data))
		if err != nil {
			f.Fatalf("%s: %s: %v", name, file.Name, err)
		}
		f.Add(seed...)
	}
}

// parse returns the values of an element, one for each line below the header.
func parse(text string) (seed []any, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != header || len(lines) == 1 {
		return nil, fmt.Errorf("want values below %q", header)
	}
	for _, line := range lines[1:] {
		v, err := value(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		seed = append(seed, v)
	}
	return seed, nil
}

var errValue = errors.New("want a type and a literal, as in []byte(\"x\") or uint16(7)")

// value returns the value of a line, which is a conversion of a literal.
func value(line string) (any, error) {
	expression, err := parser.ParseExpr(line)
	if err != nil {
		return nil, err
	}
	call, ok := expression.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return nil, errValue
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return nil, errValue
	}
	to, _, _ := strings.Cut(line, "(")
	switch literal.Kind {
	case token.STRING:
		s, err := strconv.Unquote(literal.Value)
		if to == "[]byte" {
			return []byte(s), err
		}
		return s, err
	case token.CHAR:
		r, _, _, err := strconv.UnquoteChar(literal.Value[1:len(literal.Value)-1], '\'')
		return byte(r), err
	}
	return number(to, literal.Value)
}

func number(to, text string) (any, error) {
	bits := map[string]int{"byte": 8, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}[to]
	n, err := strconv.ParseUint(text, 0, bits)
	switch bits {
	case 8:
		return byte(n), err
	case 16:
		return uint16(n), err
	case 32:
		return uint32(n), err
	case 64:
		return n, err
	}
	return nil, fmt.Errorf("no seeds of type %s", to)
}
