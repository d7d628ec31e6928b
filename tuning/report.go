package tuning

import "io/fs"

// State is the assessment of a knob's value.
type State string

const (
	Good   State = "good"   // as wanted, or better
	Low    State = "low"    // not as wanted
	Absent State = "absent" // unreadable: another kernel, a module that is not loaded, a network namespace
	Shown  State = "shown"  // no value is wanted
)

// Finding is the state of a knob on a host.
type Finding struct {
	Name    string `json:"name"`
	Class   Class  `json:"class"`
	State   State  `json:"state"`
	Now     string `json:"now"`    // fields with single spaces; empty if absent
	Wanted  string `json:"wanted"` // see Want
	Set     string `json:"set"`    // the value to set; the same as now if that is good
	Why     string `json:"why"`
	Formula string `json:"formula"`
	Source  string `json:"source"`
	Fix     string `json:"fix"` // how to set it; empty if it is good
}

// Report compares a host with the requirements of N sockets.
type Report struct {
	Sockets        int       `json:"sockets"`
	OneTable       bool      `json:"one_descriptor_table"`
	Fits           bool      `json:"fits"` // no knob of class must is low
	Knobs          []Finding `json:"knobs"`
	Budget         Budget    `json:"memory_budget"`
	AvailableBytes uint64    `json:"memory_available_bytes"`
}

// Examine reads the host below root and compares it with need. It changes nothing, and a missing file is not an error.
func Examine(root fs.FS, need Need) Report {
	h := newHost(root, need)
	r := Report{Sockets: need.Sockets, OneTable: need.OneTable, Budget: NewBudget(need.Sockets)}
	r.AvailableBytes = h.memAvailableKB * 1024
	for _, k := range knobs(h) {
		r.Knobs = append(r.Knobs, k.examine(h))
	}
	r.Fits = len(r.Lacking(Must)) == 0
	return r
}

// Lacking returns the findings of a class that are low.
func (r *Report) Lacking(class Class) (low []Finding) {
	for _, f := range r.Knobs {
		if f.Class == class && f.State == Low {
			low = append(low, f)
		}
	}
	return low
}

func (k *knob) examine(h *host) Finding {
	f := Finding{Name: k.Name, Class: k.Class, Why: k.Why, Formula: k.Formula, Source: k.Source}
	var want want
	if k.want != nil {
		want = k.want(h)
		f.Wanted = want.String()
	}
	now, ok := k.now(h)
	switch {
	case !ok:
		f.State = Absent
		return f
	case k.want == nil:
		f.State, f.Now, f.Set = Shown, now, now
		return f
	}
	set, good := want.merge(now)
	f.Now, f.Set, f.State = now, set, Low
	switch {
	case good:
		f.State = Good
	case set == "": // not a known form of this knob's value
		f.State = Shown
	default:
		f.Fix = k.howToSet(set)
	}
	return f
}
