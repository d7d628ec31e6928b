package config

import (
	"reflect"
	"strings"
)

const exampleHead = `# The configuration of megaphone edge: every key with its default.
# Keep only what differs. Flags of the same names override the file. A number may be written 1000000, 1_000_000 or 1M
# (k, M, G are powers of 1,000, Ki, Mi, Gi of 1,024), a rate with /s behind it, a time with its unit: 30s, 5m.
#
#   megaphone edge --config FILE --check-config    checks a file, and changes nothing
#   megaphone edge --print-defaults                prints this text
#   kill -HUP PID                                  reloads the file into a running edge: all of it, or nothing if it
#                                                  has an error. Keys marked "restart" keep their old values until a
#                                                  restart, and the log names them.
`

// Example returns a configuration file with every key, its documentation and its default.
func Example() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	defaults := Config{Name: "-"}.WithDefaults()
	for i := range configKeys {
		k := &configKeys[i]
		b.WriteByte('\n')
		describe(&b, "", k)
		switch k.Value(&defaults).(type) {
		case *[]Listener:
			writeEntry(&b, k.Name, "#", listenerKeys, 1)
		case *[]PublicURL:
			writeEntry(&b, k.Name, "#", publicKeys, len(publicKeys))
		case *[]Origin:
			writeEntry(&b, k.Name, "", originKeys, 2)
		default:
			writeKey(&b, "", k, &defaults)
		}
	}
	return b.String()
}

const exampleColumns = 110

// describe writes a key's documentation as comments.
func describe[T, V any](b *strings.Builder, indent string, k *Key[T, V]) {
	words := strings.ReplaceAll(k.Doc, "`", "") + "."
	var zero T
	switch v := k.Value(&zero); reflect.TypeOf(v).Elem().Kind() {
	case reflect.Int, reflect.Int64:
		words += strings.TrimPrefix(k.remedy(v), "use") + "."
	}
	if k.More != "" {
		words += " " + k.More
	}
	if !k.Reload {
		words += " (restart)"
	}
	line := indent + "#"
	for word := range strings.FieldsSeq(words) {
		if len(line)+1+len(word) > exampleColumns {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

func writeKey[T, V any](b *strings.Builder, indent string, k *Key[T, V], defaults *T) {
	if k.Sample != "" {
		b.WriteString(indent + "#" + k.Name + ": " + k.Sample + "\n")
		return
	}
	b.WriteString(indent + k.Name + ": " + text(k.Value(defaults)) + "\n")
}

// writeEntry writes a list with one entry. The first required keys of the entry are active, and the others are
// commented out. off is "#" to comment out all of it.
func writeEntry[T, V any](b *strings.Builder, name, off string, keys []Key[T, V], required int) {
	b.WriteString(off + name + ":\n")
	var zero T
	for i := range keys {
		k := &keys[i]
		value := k.Sample
		if value == "" {
			value = text(k.Value(&zero))
		}
		switch v := k.Value(&zero).(type) {
		case *TLS:
			describe(b, off+"    ", k)
			writeTLS(b, off+"    #", v)
			continue
		}
		switch {
		case i == 0:
			describe(b, off+"  ", k)
			b.WriteString(off + "  - " + k.Name + ": " + value + "\n")
		case i < required:
			describe(b, off+"    ", k)
			b.WriteString(off + "    " + k.Name + ": " + value + "\n")
		default:
			describe(b, off+"    ", k)
			b.WriteString(off + "    #" + k.Name + ": " + value + "\n")
		}
	}
}

// writeTLS writes the keys of tls below its own.
func writeTLS(b *strings.Builder, indent string, zero *TLS) {
	b.WriteString(indent + "tls:\n")
	for i := range tlsKeys {
		k := &tlsKeys[i]
		describe(b, indent+"  ", k)
		switch k.Value(zero).(type) {
		case *[]Certificate:
			writeEntry(b, k.Name, indent+"  ", certificateKeys, 2)
			continue
		case *ACME:
			b.WriteString(indent + "  #acme:\n")
			for j := range acmeKeys {
				describe(b, indent+"  #  ", &acmeKeys[j])
				b.WriteString(indent + "  #  " + acmeKeys[j].Name + ": " + acmeKeys[j].Sample + "\n")
			}
			continue
		}
		b.WriteString(indent + "  #" + k.Name + ": " + k.Sample + "\n")
	}
}
