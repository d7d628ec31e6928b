package chat

import "github.com/xdg-go/scram"

// mechanism is a SASL mechanism.
type mechanism uint8

// The mechanisms in the order in which they are offered, best first.
const (
	scramSHA256 mechanism = iota
	scramSHA1
	plain
	anonymous
	mechanismCount
)

var mechanismNames = [mechanismCount]string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS"}

func (m mechanism) String() string { return mechanismNames[m] }

// hash returns the hash of a SCRAM mechanism, or nil for others.
func (m mechanism) hash() scram.HashGeneratorFcn {
	switch m {
	case scramSHA256:
		return scram.SHA256
	case scramSHA1:
		return scram.SHA1
	}
	return nil
}

// mechanismNamed returns the mechanism with a name, which is in capitals (RFC 4422, section 3.1).
func mechanismNamed(name []byte) (mechanism, bool) {
	for m, known := range mechanismNames {
		if known == string(name) {
			return mechanism(m), true
		}
	}
	return 0, false
}

type mechanismSet uint8

func (s mechanismSet) has(m mechanism) bool { return s&(1<<m) != 0 }
