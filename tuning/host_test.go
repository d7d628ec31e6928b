package tuning

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// TestControlGroup: the least limit on the way from the process's group to the root bounds the memory.
func TestControlGroup(t *testing.T) {
	for _, c := range []struct {
		limits fakeTree
		kib    uint64
	}{
		{fakeTree{}, 31404028},
		{fakeTree{"sys/fs/cgroup/user.slice/session-1.scope/memory.max": "max\n"}, 31404028},
		{fakeTree{"sys/fs/cgroup/user.slice/session-1.scope/memory.max": "1073741824\n"}, 1 << 20},
		{fakeTree{"sys/fs/cgroup/user.slice/memory.max": "1048576\n",
			"sys/fs/cgroup/user.slice/session-1.scope/memory.max": "1073741824\n"}, 1024},
		{fakeTree{"sys/fs/cgroup/other/memory.max": "1048576\n"}, 31404028},
	} {
		r := Examine(with(t, debian(t), c.limits), Need{Sockets: 1})
		if r.AvailableBytes != c.kib*1024 {
			t.Errorf("%v: %d bytes, want %d KiB", c.limits, r.AvailableBytes, c.kib)
		}
	}
}

// TestDevices: the reports on network devices and cores, and their remedies.
func TestDevices(t *testing.T) {
	for _, c := range []struct {
		knob    string
		changed fakeTree
		state   State
		now     string
		fix     string
	}{
		{"receive eth0", nil, Low, "2", "echo f into each"},
		{"receive eth0", fakeTree{"sys/class/net/eth0/queues/rx-0/rps_cpus": "f\n"}, Good, "4", ""},
		{"receive eth0", fakeTree{"sys/class/net/eth0/queues/rx-0/rps_cpus": "00000000,0000000e\n",
			"sys/class/net/eth0/queues/rx-1/rps_cpus": "00000000,00000001\n"}, Good, "4", ""},
		{"receive eth0", fakeTree{"sys/devices/system/cpu/online": "0-1\n"}, Good, "2", ""},
		{"receive eth0", fakeTree{"sys/devices/system/cpu/online": "0-39\n"}, Low, "2", "echo ff,ffffffff into each"},
		{"transmit eth0", nil, Good, "4", ""},
		{"transmit eth0", fakeTree{"sys/class/net/eth0/queues/tx-0/xps_cpus": "1\n",
			"sys/class/net/eth0/queues/tx-1/xps_cpus": "2\n"}, Low, "2", "ethtool -L eth0 combined 4"},
		{"interrupts eth0", nil, Good, "2", ""},
		{"interrupts eth0", fakeTree{"proc/interrupts": "40: 7 0 0 0 PCI-MSI eth0-rx-0\n41: 9 0 0 0 PCI-MSI eth0-1\n"},
			Low, "1", "irqbalance"},
		{"interrupts eth0", fakeTree{"proc/interrupts": " 40: 7 0 0 0 PCI-MSI eth01\n"}, Absent, "", ""},
		{"missed eth0", nil, Low, "17", "ethtool -G eth0 rx"},
		{"missed eth0", fakeTree{"sys/class/net/eth0/statistics/rx_missed_errors": "0\n"}, Good, "0", ""},
		{"cpu governor", nil, Low, "powersave", "cpupower"},
		{"cpu governor", fakeTree{"sys/devices/system/cpu/cpufreq/policy2/scaling_governor": "performance\n"}, Good,
			"performance", ""},
		{"connection table", nil, Good, "262144", ""},
		{"connection table", fakeTree{"proc/sys/net/ipv4/tcp_ehash_entries": "-512\n"}, Low, "512",
			"boot with thash_entries=1000;"},
		{"net.ipv4.tcp_keepalive_time", nil, Shown, "7200", ""},
	} {
		r := Examine(with(t, debian(t), c.changed), Need{Sockets: 1000})
		f := find(t, r, c.knob)
		if f.State != c.state || f.Now != c.now || !strings.Contains(f.Fix, c.fix) || (c.fix == "") != (f.Fix == "") {
			t.Errorf("%s with %v: %s, %q, fix %q; want %s, %q, %q", c.knob, c.changed, f.State, f.Now, f.Fix, c.state,
				c.now, c.fix)
		}
		if f.Class != ReportOnly || !r.Fits {
			t.Errorf("%s is a %s, fits: %v", c.knob, f.Class, r.Fits)
		}
	}
}

// TestVirtioInterrupts: interrupts are named after the device behind the network device.
func TestVirtioInterrupts(t *testing.T) {
	tree := with(t, debian(t), fakeTree{
		"proc/interrupts": "40: 7 0 5 1 PCI virtio3-input.0\n41: 1 1 1 1 PCI virtio31-input.0\n"}).(fstest.MapFS)
	delete(tree, "sys/class/net/eth0/device/uevent")
	tree["sys/devices/virtio3/uevent"] = &fstest.MapFile{}
	tree["sys/class/net/eth0/device"] = &fstest.MapFile{Data: []byte("../../../devices/virtio3"), Mode: fs.ModeSymlink}
	if f := find(t, Examine(tree, Need{Sockets: 1}), "interrupts eth0"); f.Now != "3" {
		t.Errorf("%+v", f)
	}
}
