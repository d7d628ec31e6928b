package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestExampleFile: the shipped file and the output of --print-defaults match the tables of keys.
func TestExampleFile(t *testing.T) {
	shipped, err := os.ReadFile("../deploy/edge.yml")
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != Example() {
		t.Error("deploy/edge.yml differs from the keys: " +
			"`go run ./cmd/megaphone edge --print-defaults > deploy/edge.yml`")
	}
}

// TestExampleHasTheDefaults: the example sets nothing but defaults.
func TestExampleHasTheDefaults(t *testing.T) {
	got, _, err := parseFile("example", Example())
	if err != nil {
		t.Fatal(err)
	}
	defaults := Config{}.WithDefaults()
	for i := range configKeys {
		k := &configKeys[i]
		if k.Sample != "" || k.Name == "listeners" || k.Name == "public-url" || k.Name == "origins" {
			continue
		}
		want := reflect.ValueOf(k.Value(&defaults)).Elem()
		if v := reflect.ValueOf(k.Value(&got)).Elem(); v.IsZero() && !want.IsZero() {
			t.Errorf("%s is not in the example", k.Name)
		}
	}
	got = got.WithDefaults()
	want := Config{Origins: []Origin{{Name: "a", Address: "127.0.0.1:5279"}}}.WithDefaults()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the example has\n%+v\nthe defaults are\n%+v", got, want)
	}
	if _, err := got.parse(); err != nil {
		t.Error(err)
	}
}

// TestExampleSamples: commented keys are valid when uncommented.
func TestExampleSamples(t *testing.T) {
	all := regexp.MustCompile(`(?m)^( *)#((  )*(- )?[a-z-]+:( \S.*)?)$`).ReplaceAllString(Example(), "$1$2")
	all = strings.Replace(all, "\nlisten: ", "\n#listen: ", 1)
	cfg, _, err := parseFile("example", all)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != "edge-1" || len(cfg.Listeners) != 1 || cfg.Origins[0].Domains[0] != "example.org" {
		t.Errorf("read as %+v", cfg)
	}
	cfg = cfg.WithDefaults()
	if _, err := cfg.parse(); err != nil {
		t.Error(err)
	}
}

// TestEveryFieldHasAKey: except those that only a program can set.
func TestEveryFieldHasAKey(t *testing.T) {
	have := fieldsOf(configKeys, nil)
	have = append(have, "Secret")
	checkFields(t, reflect.TypeFor[Config](), have)
	checkFields(t, reflect.TypeFor[Origin](), fieldsOf(originKeys, nil))
	checkFields(t, reflect.TypeFor[Listener](), fieldsOf(listenerKeys, nil))
	checkFields(t, reflect.TypeFor[PublicURL](), fieldsOf(publicKeys, nil))
	checkFields(t, reflect.TypeFor[TLS](), fieldsOf(tlsKeys, nil))
	checkFields(t, reflect.TypeFor[ACME](), fieldsOf(acmeKeys, nil))
	checkFields(t, reflect.TypeFor[Certificate](), fieldsOf(certificateKeys, nil))
}

func fieldsOf[T, V any](keys []Key[T, V], names []string) []string {
	var v T
	whole := reflect.ValueOf(&v).Elem()
	for i := range keys {
		at := reflect.ValueOf(keys[i].Value(&v)).Pointer()
		for f := range whole.NumField() {
			if whole.Field(f).CanAddr() && whole.Field(f).Addr().Pointer() == at {
				names = append(names, whole.Type().Field(f).Name)
			}
		}
	}
	return names
}

func checkFields(t *testing.T, typ reflect.Type, have []string) {
	t.Helper()
	for i := range typ.NumField() {
		f, n := typ.Field(i), 0
		for _, name := range have {
			if name == f.Name {
				n++
			}
		}
		if f.IsExported() && n != 1 {
			t.Errorf("%s.%s has %d keys", typ.Name(), f.Name, n)
		}
	}
}

func TestFileValues(t *testing.T) {
	cfg, _, err := parseFile("f", `
# flow and block, quoted and plain
listen: "[::]:5280"
max-connections: 1_000_000
grace: 1m30s
cors-origins: https://a.example
origins:
- name: 12
  address: 10.0.0.2:5279
  domains:
  - a.example
  - 'b.example'
- {name: b, address: '10.0.0.3:5279', domains: [c.example]}
secret-file:
name: |-
  edge-7
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Listen: "[::]:5280", MaxConnections: 1_000_000, Grace: 90 * time.Second,
		CORS: []string{"https://a.example"}, Name: "edge-7", Origins: []Origin{
			{Name: "12", Address: "10.0.0.2:5279", Domains: []string{"a.example", "b.example"}},
			{Name: "b", Address: "10.0.0.3:5279", Domains: []string{"c.example"}}}}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("read as\n%+v, want\n%+v", cfg, want)
	}
	for _, nothing := range []string{"", "\n", "# nothing\n", "---\n"} {
		if cfg, _, err := parseFile("f", nothing); err != nil || !reflect.DeepEqual(cfg, Config{}) {
			t.Errorf("%q is read as %+v, %v", nothing, cfg, err)
		}
	}
}

// TestFileMistakes: each error has its line, its column, the line itself with a caret, and a remedy.
func TestFileMistakes(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"grce: 5s\n", "f:1:1: grce: unknown key: do you mean grace?\n  1 | grce: 5s\n    | ^"},
		{"path: /a\nmax_connections: 5\n", "f:2:1: max_connections: unknown key: do you mean max-connections?\n" +
			"  2 | max_connections: 5\n    | ^"},
		{"frobnicate: 5\n", "f:1:1: frobnicate: unknown key; `megaphone edge --print-defaults` lists all of them"},
		{"origins:\n  - name: a\n    adress: b:1\n", "f:3:5: origins[0].adress: unknown key: do you mean address?\n" +
			"  3 |     adress: b:1\n    |     ^"},
		{"origins: [{name: a, adress: 'b:1'}]\n", "f:1:21: origins[0].adress: unknown key: do you mean address?"},
		{"path: /a\npath: /b\n", "f:2:1: mapping key \"path\" already defined"},
		{"max-connections: many\n", "f:1:18: max-connections: many: use 1 to 16777216\n" +
			"  1 | max-connections: many\n    |                  ^"},
		{"max-connections: 0\n", "f:1:18: max-connections: 0: use 1 to"},
		{"max-connections: 1.5\n", "f:1:18: max-connections: 1.5: use 1 to"},
		{"max-connections: [1]\n", "f:1:18: max-connections: [1]: use 1 to"},
		{"max-connections:\n  a: 1\n", "f:2:3: max-connections: a: 1: use 1 to"},
		{"max-pipelined: 999\n", "f:1:16: max-pipelined: 999: use 1 to 200"},
		{"grace: soon\n", "f:1:8: grace: soon: use 1s to 24h"},
		{"grace: 30\n", "f:1:8: grace: 30: use 1s to 24h"},
		{"grace: 0s\n", "f:1:8: grace: 0s: use 1s to 24h"},
		{"node-tags: maybe\n", "f:1:12: node-tags: maybe: use auto, on or off"},
		{"path: [/a]\n", "f:1:7: path: [/a]: give a string"},
		{"origins: a\n", "f:1:10: origins: give a list of entries, each \"- name: ...\""},
		{"origins: [a]\n", "f:1:11: give keys with their values"},
		{"- listen\n", "f:1:1: give keys with their values"},
		{"cors-origins: [[a]]\n", "f:1:16: cors-origins: give a list of strings"},
		{"cors-origins: {a: b}\n", "f:1:15: cors-origins: give a list, for example [a, b]"},
		{"path: [\n", "f:1:7: "},
		{"path: /a\n---\npath: /b\n", "f:2:1: a second document"},
	} {
		_, _, err := parseFile("f", c.text)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got\n%v\nwant\n%s", c.text, err, c.says)
		}
	}
}

// TestFileExplains: errors of the whole configuration have a position in the file as well.
func TestFileExplains(t *testing.T) {
	for _, c := range []struct{ text, override, says string }{
		{"origins:\n- {name: a, address: b}\n", "", "f:2:22: origins[0].address: b: give host:port"},
		{"origins:\n- {name: a, address: 'b:1'}\n- name: a\n  address: c:1\n", "",
			"f:3:9: origins[1].name: a: \"a\" has the same node tag"},
		{"origins:\n- name: a\n", "", "f:2:3: origins[0].address: : give host:port"},
		{"path: x\norigins: [{name: a, address: 'b:1'}]", "", "f:1:7: path: x: give an absolute path"},
		{"path: x\norigins: [{name: a, address: 'b:1'}]", "path", "path: x: give an absolute path"},
		{"origins: [{name: a, address: 'b'}]", "origins", "origins[0].address: b: give host:port"},
		{"path: /x\n", "", "origins: none: name at least one"},
		{"listen: 'a:1'\nlisteners: [{address: 'b:1'}]\norigins: [{name: a, address: 'b:1'}]", "",
			"f:1:9: listen: a:1: give either listen or listeners"},
	} {
		cfg, f, err := parseFile("f", c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if c.override != "" {
			f.Override(c.override)
		}
		_, err = cfg.parse()
		err = f.Explain(err)
		if err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "config: "), c.says) {
			t.Errorf("%q: got\n%v\nwant\n%s", c.text, err, c.says)
		}
	}
}

// Numbers may be written as people write them.
func TestFileNumbers(t *testing.T) {
	for _, c := range []struct {
		text string
		of   func(c *Config) int
		want int
	}{
		{"max-connections: 1M", func(c *Config) int { return c.MaxConnections }, 1_000_000},
		{"max-connections: 1_000_000", func(c *Config) int { return c.MaxConnections }, 1_000_000},
		{"max-connections: 1,000,000", func(c *Config) int { return c.MaxConnections }, 1_000_000},
		{"max-connections: '10k'", func(c *Config) int { return c.MaxConnections }, 10_000},
		{"max-body-bytes: 64Ki", func(c *Config) int { return c.MaxBodyBytes }, 65536},
		{"max-request-rate-per-address: 100/s", func(c *Config) int { return c.AddressRequestRate }, 100},
		{"max-connection-rate-per-address: 1k/s", func(c *Config) int { return c.AddressConnectionRate }, 1000},
	} {
		cfg, _, err := parseFile("f", c.text+"\n")
		if err != nil || c.of(&cfg) != c.want {
			t.Errorf("%s: %d, %v, want %d", c.text, c.of(&cfg), err, c.want)
		}
	}
	for _, text := range []string{"max-connections: 1000/s", "max-connections: 1,00",
		"max-request-rate-per-address: 1/m"} {
		if _, _, err := parseFile("f", text+"\n"); err == nil || !strings.Contains(err.Error(), "use ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestEditorsMarks: a byte order mark and CR LF change neither the values nor the positions of errors.
func TestEditorsMarks(t *testing.T) {
	const text = "listen: 127.0.0.1:1\norigins:\n  - name: a\n    address: 127.0.0.1:2\ncors-origins: [a, b]\n"
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "edge.yml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	want, _, err := ReadFile(write(text))
	if err != nil {
		t.Fatal(err)
	}
	crlf := strings.ReplaceAll(text, "\n", "\r\n")
	for _, form := range []string{"\xEF\xBB\xBF" + text, crlf, "\xEF\xBB\xBF" + crlf} {
		got, _, err := ReadFile(write(form))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", form, got, err)
		}
		_, _, err = ReadFile(write(form + "max-pipelined: 999\r\n"))
		const shown = ":6:16: max-pipelined: 999: use 1 to 200\n  6 | max-pipelined: 999\n"
		if err == nil || !strings.Contains(err.Error(), shown) {
			t.Errorf("%q: the mistake is shown as %v", form, err)
		}
	}
	_, _, err = ReadFile(write("\xFF\xFEl\x00i\x00"))
	if err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Errorf("UTF-16: %v", err)
	}
	secret := write("\xEF\xBB\xBF0123456789abcdef0123\r\nsecond line\r\n")
	if got, err := ReadSecret(secret); err != nil || string(got) != "0123456789abcdef0123" {
		t.Errorf("secret %q, %v", got, err)
	}
}
