package tests

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"megaphone/tests/rig"
	"megaphone/tuning"
)

// debian returns a new root with a copy of a host's proc and sys as they come, with 32 GB.
func debian(t testing.TB) (root string) {
	t.Helper()
	return rig.Extract(t, "../tuning/testdata/debian.txtar")
}

// doctor runs megaphone doctor --json.
func doctor(t testing.TB, args ...string) (code int, r tuning.Report) {
	t.Helper()
	code, said := rig.Run(t, append([]string{"doctor", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		t.Fatalf("exit %d, %v in\n%s", code, err, said)
	}
	return code, r
}

// TestDoctorReport compares what doctor prints with a report that was read by a person. UPDATE=1 writes it anew.
func TestDoctorReport(t *testing.T) {
	for _, c := range []struct {
		golden string
		code   int
		args   []string
	}{
		{"testdata/doctor-million.txt", 3, []string{"--sockets", "1000000"}},
		{"testdata/doctor-explain.txt", 0, []string{"--sockets", "100000", "--descriptor-tables", "off", "--explain"}},
	} {
		code, said := rig.Run(t, append([]string{"doctor", "--root", debian(t)}, c.args...)...)
		if code != c.code {
			t.Errorf("%v: exit %d, want %d", c.args, code, c.code)
		}
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(c.golden, []byte(said+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(c.golden)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(said) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%v: wider than 80 columns: %s", c.args, line)
			}
		}
		if said+"\n" != string(want) {
			t.Errorf("%v says\n%s\nand not what is in %s", c.args, said, c.golden)
		}
	}
}

// TestDoctorJSON has all that the text has, and the same verdict as the exit status.
func TestDoctorJSON(t *testing.T) {
	for _, c := range []struct {
		args    string
		code    int
		lacking string
	}{
		{"--sockets 100000", 0, ""},
		{"--sockets 100000 --descriptor-tables off", 0, ""},
		{"--sockets 400000", 3, "net.netfilter.nf_conntrack_max,"},
		{"--sockets 525000", 3, "net.netfilter.nf_conntrack_max,net.ipv4.tcp_mem,"},
		{"--sockets 525000 --descriptor-tables off", 3,
			"RLIMIT_NOFILE,net.netfilter.nf_conntrack_max,net.ipv4.tcp_mem,"},
		{"--sockets 1000000", 3, "net.netfilter.nf_conntrack_max,net.ipv4.tcp_mem,"},
		{"--sockets 4000000", 3, "MemAvailable,net.netfilter.nf_conntrack_max,net.ipv4.tcp_mem,"},
	} {
		code, r := doctor(t, append(strings.Fields(c.args), "--root", debian(t))...)
		lacking := ""
		for _, f := range r.Lacking(tuning.Must) {
			lacking += f.Name + ","
		}
		if code != c.code || r.Fits != (code == 0) || lacking != c.lacking {
			t.Errorf("%s: exit %d, fits %v, lacking %q; want %d, %q", c.args, code, r.Fits, lacking, c.code, c.lacking)
		}
		if r.Budget.TotalBytes != tuning.NewBudget(r.Sockets).TotalBytes || r.AvailableBytes != 31404028*1024 {
			t.Errorf("%s: %d of %d bytes", c.args, r.Budget.TotalBytes, r.AvailableBytes)
		}
	}
}

// TestDoctorReadsThisHost: on whatever machine this is, each knob is there or absent, and the two verdicts agree.
func TestDoctorReadsThisHost(t *testing.T) {
	code, r := doctor(t)
	if len(r.Knobs) < 20 || r.AvailableBytes == 0 || r.Fits != (code == 0) || r.Sockets != 100_000 {
		t.Errorf("exit %d: %+v", code, r)
	}
}

// TestEdgeChecksItsHost: an edge that wants more than any host has says so, a line for each must that is low, and
// nothing when it is told not to.
func TestEdgeChecksItsHost(t *testing.T) {
	const tooMany = "16000000"
	args := []string{"edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--descriptor-tables", "off",
		"--max-connections", tooMany}
	_, r := doctor(t, "--sockets", tooMany, "--descriptor-tables", "off")
	_, said := rig.Run(t, args...)
	want := len(r.Lacking(tuning.Must))
	if got := strings.Count(said, "too low for max-connections"); got != want || want == 0 {
		t.Errorf("%d warnings, want %d, in\n%s", got, want, said)
	}
	for _, f := range r.Lacking(tuning.Must) {
		if strings.Count(said, "knob="+f.Name+" ") != 1 {
			t.Errorf("no warning of %s in\n%s", f.Name, said)
		}
	}
	if _, said := rig.Run(t, append(args, "--check-host", "off")...); strings.Contains(said, "short of") {
		t.Errorf("it was told not to look:\n%s", said)
	}
}
