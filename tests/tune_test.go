package tests

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"megaphone/tests/rig"
	"megaphone/tuning"
)

const tuneScript = "../scripts/tune.sh"

// tune runs the script, with the shell that is its own.
func tune(t testing.TB, args ...string) (code int, said string) {
	t.Helper()
	p := rig.Launch(t, exec.Command(tuneScript, args...))
	return p.Wait(), p.Text()
}

// values are the contents of all files below dir, with single spaces, and of a list of words the one that is chosen.
func values(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		text := strings.Join(strings.Fields(string(data)), " ")
		if _, rest, ok := strings.Cut(text, "["); ok {
			text, _, _ = strings.Cut(rest, "]")
		}
		m[strings.TrimPrefix(name, dir)] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantSame(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s was not there before", name)
		}
	}
}

var (
	columns = regexp.MustCompile(` {2,}`)
	below   = regexp.MustCompile(`\n {40,}`) // a cell that its row has no room for
)

// TestTuneAgreesWithDoctor: the script and the program have the same formulas. Each row of --check is a knob of
// doctor --json that is no mere report, with the same value, wish and mark; and they come to the same verdict. On the
// real host too, where only what changes by itself may differ.
func TestTuneAgreesWithDoctor(t *testing.T) {
	stock := debian(t)
	for _, n := range []string{"1", "5000", "70000", "100000", "1000000", "2000000", "999999999"} {
		for _, tables := range []string{"auto", "off"} {
			for _, root := range []string{stock, "/"} {
				args := []string{"--sockets", n, "--descriptor-tables", tables, "--root", root}
				if root == stock && n != "5000" {
					args = append(args, "--dials")
				}
				agree(t, args, root == "/")
			}
		}
	}
	for limit, n := range map[string]string{"50": "1", "98": "1", "1024": "400000", "1025": "1000000"} {
		root := debian(t)
		text := "Max open files            1024                 " + limit + "                files\n"
		if err := os.WriteFile(root+"/proc/self/limits", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		agree(t, []string{"--sockets", n, "--root", root}, false)
	}
}

// agree compares the two. The free memory of a live host changes by itself.
func agree(t *testing.T, args []string, alive bool) {
	t.Helper()
	wantCode, report := doctor(t, args...)
	code, said := tune(t, append(args, "--check")...)
	if (code == 0) != (wantCode == 0) || code > 1 {
		t.Errorf("%v: exit %d, the doctor's is %d", args, code, wantCode)
	}
	var rows []string
	for _, f := range report.Knobs {
		if f.Class != tuning.ReportOnly {
			rows = append(rows, checkRow(f))
		}
	}
	lines := strings.Split(below.ReplaceAllString(said, "  "), "\n")
	if len(lines) != len(rows)+2 {
		t.Fatalf("%v: %d rows, want %d in\n%s", args, len(lines)-2, len(rows), said)
	}
	for i, line := range lines[1 : len(lines)-1] {
		got := columns.ReplaceAllString(line, "|")
		if alive && strings.Contains(got, "|MemAvailable|") {
			got, rows[i] = withoutNow(got), withoutNow(rows[i])
		}
		if got != rows[i] {
			t.Errorf("%v: the script has %s, the doctor %s", args, got, rows[i])
		}
	}
}

// checkRow is a finding as a row of --check, with bars between its columns.
func checkRow(f tuning.Finding) string {
	mark := map[tuning.State]string{tuning.Good: "ok", tuning.Absent: "absent", tuning.Shown: "-",
		tuning.Low: map[tuning.Class]string{tuning.Must: "MUST", tuning.Should: "should"}[f.Class]}[f.State]
	now := f.Now
	if f.State == tuning.Absent {
		now = "-"
	}
	return fmt.Sprintf("%s|%s|%s|%s", mark, f.Name, now, f.Wanted)
}

func withoutNow(row string) string {
	cells := strings.Split(row, "|")
	cells[2] = ""
	return strings.Join(cells, "|")
}

// TestTuneAppliesAndReverts: --apply makes of a host what doctor asks for, twice does no more, --persist writes it
// down, and --revert leaves no trace.
func TestTuneAppliesAndReverts(t *testing.T) {
	root := debian(t)
	before := values(t, root)
	at := func(args ...string) []string {
		return append([]string{"--root", root, "--sockets", "1000000"}, args...)
	}
	_, asked := doctor(t, at()...)

	code, said := tune(t, at("--apply")...)
	if code != 0 {
		t.Fatalf("exit %d:\n%s", code, said)
	}
	want := maps.Clone(before)
	for _, f := range asked.Knobs {
		if f.State != tuning.Low || f.Class == tuning.ReportOnly || f.Name == "RLIMIT_NOFILE" {
			continue
		}
		if announced := f.Name + ": " + f.Now + " -> " + f.Set; !strings.Contains(said, announced) {
			t.Errorf("not announced: %s", announced)
		}
		name := "/proc/sys/" + strings.ReplaceAll(f.Name, ".", "/")
		if f.Name == "transparent_hugepage" {
			name = "/sys/kernel/mm/transparent_hugepage/enabled"
		}
		want[name] = f.Set
	}
	if !strings.Contains(said, "LimitNOFILE=1004096") {
		t.Errorf("no word of RLIMIT_NOFILE in\n%s", said)
	}
	state := "/var/lib/megaphone/tune.state"
	applied := values(t, root)
	want[state] = applied[state]
	wantSame(t, applied, want)
	if code, r := doctor(t, at()...); code != 0 {
		t.Errorf("the doctor is not content: %v", r.Lacking(tuning.Must))
	}
	if code, said := tune(t, at("--check")...); code != 0 {
		t.Errorf("--check is not content: %s", said)
	}

	if code, said := tune(t, at("--apply")...); code != 0 || strings.Contains(said, "->") {
		t.Errorf("once more: exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), applied)

	for range 2 { // it is the same when it is done again, and also after the values are as wanted
		if code, said := tune(t, at("--persist")...); code != 0 || !strings.Contains(said, "LimitNOFILE=1004096") {
			t.Errorf("--persist: exit %d, %s", code, said)
		}
		wantDropIn(t, root, asked)
	}

	code, said = tune(t, "--root", root, "--revert")
	if code != 0 {
		t.Errorf("--revert: exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
	if code, said := tune(t, "--root", root, "--revert"); code != 0 || !strings.Contains(said, "no knob was changed") {
		t.Errorf("once more: exit %d, %s", code, said)
	}
}

// wantDropIn checks that there is one drop-in, with only the values that were too low.
func wantDropIn(t *testing.T, root string, asked tuning.Report) {
	t.Helper()
	files, _ := filepath.Glob(root + "/etc/sysctl.d/*")
	if len(files) != 1 || filepath.Base(files[0]) != "90-megaphone.conf" {
		t.Fatalf("drop-ins: %v", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, f := range asked.Knobs {
		if f.State == tuning.Low && strings.Contains(f.Name, ".") {
			optional := ""
			if strings.HasPrefix(f.Name, "net.netfilter.") {
				optional = "-"
			}
			want = append(want, optional+f.Name+" = "+f.Set)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the drop-in has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestTuneLowersNothing: a host that is better than wanted in all respects stays as it is.
func TestTuneLowersNothing(t *testing.T) {
	root := debian(t)
	for name, v := range map[string]string{
		"fs/file-max": "18446744073709551615", "fs/nr_open": "1073741816", "net/core/somaxconn": "100000",
		"net/core/netdev_max_backlog": "100000", "net/netfilter/nf_conntrack_max": "4000000",
		"net/ipv4/tcp_max_syn_backlog": "100000", "net/ipv4/tcp_mem": "3000000\t4000000\t5000000",
		"net/ipv4/tcp_rmem": "8192\t65536\t33554432", "net/ipv4/tcp_wmem": "8192\t65536\t33554432",
		"net/ipv4/tcp_max_orphans": "4000000", "net/ipv4/tcp_max_tw_buckets": "4000000",
		"net/ipv4/tcp_fin_timeout": "10", "net/ipv4/tcp_tw_reuse": "1", "net/ipv4/tcp_slow_start_after_idle": "0",
		"net/ipv4/tcp_migrate_req": "1", "net/ipv4/ip_local_port_range": "1024\t65535", "vm/min_free_kbytes": "400000",
		"vm/max_map_count": "262144",
	} {
		put(t, root+"/proc/sys/"+name, v)
	}
	put(t, root+"/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]")
	before := values(t, root)
	code, said := tune(t, "--root", root, "--sockets", "1000000", "--apply")
	if code != 0 || strings.Contains(said, "->") {
		t.Errorf("exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
}

func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
