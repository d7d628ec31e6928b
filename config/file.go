package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"megaphone/internal/textfile"
	"megaphone/internal/typed"
)

// File is a parsed configuration file. It knows the position of each value, so that errors can show it.
type File struct {
	name   string
	lines  []string
	places map[string]*token.Position // by path: origins[1].address
}

// ReadFile reads a configuration file strictly. Errors have line, column, a caret and a remedy.
func ReadFile(name string) (Config, *File, error) {
	data, err := textfile.Read(name)
	if err != nil {
		return Config{}, nil, fmt.Errorf("config: %w", err)
	}
	return parseFile(name, data)
}

func parseFile(name, data string) (cfg Config, f *File, err error) {
	f = &File{name: name, lines: strings.Split(data, "\n"), places: map[string]*token.Position{}}
	root, err := parser.ParseBytes([]byte(data), 0)
	var syntax interface {
		GetToken() *token.Token
		GetMessage() string
	}
	switch {
	case errors.As(err, &syntax) && syntax.GetToken() != nil:
		return cfg, f, f.errorAt(syntax.GetToken().Position, syntax.GetMessage())
	case err != nil:
		return cfg, f, fmt.Errorf("config: %s: %w", name, err)
	case len(root.Docs) == 0:
		return cfg, f, nil
	case len(root.Docs) > 1:
		at := &token.Position{Line: 1, Column: 1}
		if start := root.Docs[1].Start; start != nil {
			at = start.Position
		}
		return cfg, f, f.errorAt(at, "a second document: a file has only one")
	}
	return cfg, f, decodeKeys(f, configKeys, "", root.Docs[0].Body, &cfg)
}

// Explain adds the position in the file to a KeyError. It returns other errors unchanged, and those about a value that
// is not from the file.
func (f *File) Explain(err error) error {
	var key *KeyError
	if !errors.As(err, &key) {
		return err
	}
	for path := key.Key; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if at, ok := f.places[path]; ok {
			return f.errorAt(at, key.Error())
		}
	}
	return err
}

// Override forgets the position of a key whose value comes from elsewhere.
func (f *File) Override(name string) {
	for path := range f.places {
		if path == name || strings.HasPrefix(path, name+"[") {
			delete(f.places, path)
		}
	}
}

func (f *File) errorAt(at *token.Position, what string) error {
	number := strconv.Itoa(at.Line)
	line := f.lines[max(1, min(at.Line, len(f.lines)))-1]
	caret := max(0, min(at.Column-1, len(line)))
	return fmt.Errorf("config: %s:%d:%d: %s\n  %s | %s\n  %s | %s^", f.name, at.Line, at.Column, what,
		number, line, strings.Repeat(" ", len(number)), strings.Repeat(" ", caret))
}

// decodeKeys reads a mapping into c. path is that of the mapping, with its dot.
func decodeKeys[T, V any](f *File, keys []Key[T, V], path string, node ast.Node, c *T) error {
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return f.errorAt(node.GetToken().Position, "give keys with their values, for example \"listen: 0.0.0.0:5280\"")
	}
	for _, pair := range pairs {
		name := pair.Key.GetToken()
		k := keyNamed(keys, name.Value)
		if k == nil {
			return f.errorAt(name.Position, path+name.Value+": unknown key"+suggestion(keys, name.Value))
		}
		if _, null := pair.Value.(*ast.NullNode); null {
			continue // as if the key were missing
		}
		f.places[path+k.Name] = valuePosition(pair.Value)
		if err := decodeValue(f, k, path, pair.Value, c); err != nil {
			return err
		}
	}
	return nil
}

// valuePosition returns where a value begins. The token of a mapping is its first colon.
func valuePosition(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return n.GetToken().Position
}

func keyNamed[T, V any](keys []Key[T, V], name string) *Key[T, V] {
	for i := range keys {
		if keys[i].Name == name {
			return &keys[i]
		}
	}
	return nil
}

func decodeValue[T, V any](f *File, k *Key[T, V], path string, node ast.Node, c *T) error {
	path += k.Name
	switch v := k.Value(c).(type) {
	case *[]Listener:
		return decodeList(f, listenerKeys, path, node, v)
	case *[]PublicURL:
		return decodeList(f, publicKeys, path, node, v)
	case *[]Origin:
		return decodeList(f, originKeys, path, node, v)
	case *TLS:
		v.given = true
		return decodeKeys(f, tlsKeys, path+".", node, v)
	case *ACME:
		v.given = true
		return decodeKeys(f, acmeKeys, path+".", node, v)
	case *[]Certificate:
		return decodeList(f, certificateKeys, path, node, v)
	case *[]string:
		return decodeStrings(f, path, node, v)
	default:
		s, ok := scalar(node)
		if k.Rate {
			s = strings.TrimSuffix(s, "/s")
		}
		if ok {
			ok = parseValue(v, s)
		}
		remedy, within := k.check(c)
		switch {
		case ok && within:
			return nil
		case remedy == "":
			remedy = "give " + kinds(v)
		}
		return f.errorAt(valuePosition(node), fmt.Sprintf("%s: %s: %s", path, oneLine(node), remedy))
	}
}

// kinds describes the values of v's type, if neither bounds nor words do.
func kinds(v any) string {
	switch v.(type) {
	case *bool:
		return "true or false"
	case *fs.FileMode:
		return "an octal mode, for example 0660"
	}
	return "a string"
}

// parseValue reads a scalar into what v points to.
func parseValue(v any, s string) bool {
	var err error
	switch v := v.(type) {
	case *string:
		*v = s
	case *int:
		*v, err = typed.ParseInt(s)
	case *bool:
		*v, err = strconv.ParseBool(s)
	case *time.Duration:
		*v, err = time.ParseDuration(s)
	case *fs.FileMode:
		var mode uint64
		mode, err = strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 9)
		*v = fs.FileMode(mode)
	default:
		panic(fmt.Sprintf("config: no parser for a %T", v))
	}
	return err == nil
}

func decodeStrings(f *File, path string, node ast.Node, list *[]string) error {
	items, isList := node.(*ast.SequenceNode)
	if !isList {
		s, ok := scalar(node)
		if !ok {
			return f.errorAt(valuePosition(node), path+": give a list, for example [a, b]")
		}
		*list = []string{s}
		return nil
	}
	for i, item := range items.Values {
		s, ok := scalar(item)
		if !ok {
			return f.errorAt(valuePosition(item), path+": give a list of strings, for example [a, b]")
		}
		f.places[fmt.Sprintf("%s[%d]", path, i)] = valuePosition(item)
		*list = append(*list, s)
	}
	return nil
}

func decodeList[T, V any](f *File, keys []Key[T, V], path string, node ast.Node, list *[]T) error {
	items, ok := node.(*ast.SequenceNode)
	if !ok {
		return f.errorAt(valuePosition(node), fmt.Sprintf("%s: give a list of entries, each \"- %s: ...\"", path,
			keys[0].Name))
	}
	for i, item := range items.Values {
		here := fmt.Sprintf("%s[%d]", path, i)
		f.places[here] = valuePosition(item)
		var entry T
		if err := decodeKeys(f, keys, here+".", item, &entry); err != nil {
			return err
		}
		*list = append(*list, entry)
	}
	return nil
}

// scalar returns the text of a value that is neither a list nor a mapping.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func oneLine(n ast.Node) string {
	s, _, more := strings.Cut(strings.TrimSpace(n.String()), "\n")
	if more {
		s += " ..."
	}
	return s
}

// suggestion names the key that was probably meant, if one is near.
func suggestion[T, V any](keys []Key[T, V], name string) string {
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].Name
	}
	if best := typed.Nearest(name, names); best != "" {
		return ": do you mean " + best + "?"
	}
	return "; `megaphone edge --print-defaults` lists all of them"
}
