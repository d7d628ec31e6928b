package tuning

// Class is the importance of a knob for N sockets; see the package documentation.
type Class string

const (
	Must       Class = "must"
	Should     Class = "should"
	ReportOnly Class = "report"
)

// knob is one setting of a host.
type knob struct {
	Name    string // the sysctl's name, or another usual name
	Class   Class
	Why     string // full sentences
	Formula string // of the wanted value, in words; N is the number of sockets
	Source  string // documentation in the kernel, a manual page or an RFC

	want func(h *host) want           // nil: no value is wanted, it is only shown
	read func(h *host) (string, bool) // nil: the sysctl of that name
	fix  func(set string) string      // how to set it; nil: the sysctl of that name
}

func (k *knob) now(h *host) (string, bool) {
	if k.read != nil {
		return k.read(h)
	}
	return h.text(sysctlFile(k.Name))
}

// howToSet returns a command or a line of configuration.
func (k *knob) howToSet(set string) string {
	if k.fix != nil {
		return k.fix(set)
	}
	return "sysctl -w " + k.Name + "='" + set + "'"
}

// constant returns a wanted value that does not depend on N.
func constant(w ...term) func(*host) want { return func(*host) want { return w } }

// knobs returns all knobs of a host, in display order.
func knobs(h *host) []knob {
	var all []knob
	all = append(all, memoryKnobs(h)...)
	all = append(all, descriptorKnobs(h)...)
	all = append(all, queueKnobs()...)
	all = append(all, tcpKnobs(h)...)
	return append(all, hardwareKnobs(h)...)
}
