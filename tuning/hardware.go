package tuning

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const netDir = "sys/class/net"

// hardwareKnobs returns the knobs of devices and cores. They are shown and never changed.
func hardwareKnobs(h *host) (all []knob) {
	for _, nic := range h.nics() {
		all = append(all, nicKnobs(nic)...)
	}
	return append(all, knob{
		Name:  "cpu governor",
		Class: ReportOnly,
		Why: "An edge wakes up for a few microseconds at a time, and a power-saving governor serves each " +
			"of these at a low clock. Virtual machines have none.",
		Formula: "performance",
		Source:  "Documentation/admin-guide/pm/cpufreq.rst",
		want:    constant(oneOf("performance")),
		read:    (*host).governor,
		fix:     func(string) string { return "cpupower frequency-set -g performance" },
	})
}

// nicKnobs returns the knobs of one network device: the distribution of its packets over the cores, and the length of
// its rings.
func nicKnobs(nic string) []knob {
	const scaling = "Documentation/networking/scaling.rst"
	return []knob{{
		Name:  "receive " + nic,
		Class: ReportOnly,
		Why: "Cores that receive packets, by the device's queues or by RPS. With one, that core does all " +
			"the work of the protocol, and the others wait for it.",
		Formula: "all cores",
		Source:  scaling + ", RSS and RPS",
		want:    func(h *host) want { return want{atLeast(uint64(h.cpus))} },
		read:    func(h *host) (string, bool) { return h.spread(nic, "rx-", "rps_cpus") },
		fix: func(cores string) string {
			return "ethtool -L " + nic + " combined " + cores + "; if it has fewer queues: echo " + mask(cores) +
				" into each /" + path.Join(netDir, nic, "queues/rx-*/rps_cpus")
		},
	}, {
		Name:  "transmit " + nic,
		Class: ReportOnly,
		Why: "Cores that have a transmit queue, by the device's queues or by XPS. Cores that share a queue " +
			"share its lock.",
		Formula: "all cores",
		Source:  scaling + ", XPS",
		want:    func(h *host) want { return want{atLeast(uint64(h.cpus))} },
		read:    func(h *host) (string, bool) { return h.spread(nic, "tx-", "xps_cpus") },
		fix:     func(cores string) string { return "ethtool -L " + nic + " combined " + cores },
	}, {
		Name:  "interrupts " + nic,
		Class: ReportOnly,
		Why: "Cores that have received the device's interrupts so far. irqbalance, or a mask for each, " +
			"spreads the interrupts of several queues.",
		Formula: "the number of receive queues, or of cores",
		Source:  "Documentation/core-api/irq/irq-affinity.rst",
		want: func(h *host) want {
			return want{atLeast(uint64(min(h.cpus, max(1, len(h.queues(nic, "rx-"))))))}
		},
		read: func(h *host) (string, bool) { return h.interruptCores(nic) },
		fix: func(string) string {
			return "start irqbalance, or write a core's mask into each /proc/irq/*/smp_affinity of the device"
		},
	}, {
		Name:  "missed " + nic,
		Class: ReportOnly,
		Why: "Packets that arrived when the device's receive ring was full, since it came up. Rings are " +
			"short by default; ethtool -g shows their maximum.",
		Formula: "0",
		Source:  "Documentation/networking/statistics.rst; ethtool(8)",
		want:    constant(exactly(0)),
		read:    func(h *host) (string, bool) { return h.missed(nic) },
		fix: func(string) string {
			return "ethtool -G " + nic + " rx MAXIMUM (shown by ethtool -g " + nic + ")"
		},
	}}
}

// mask returns the hexadecimal mask of the first cores cores, in the format of rps_cpus.
func mask(cores string) string {
	n, _ := strconv.Atoi(cores)
	var groups []string
	for ; n > 32; n -= 32 {
		groups = append(groups, "ffffffff")
	}
	return strings.Join(append([]string{strconv.FormatUint(1<<n-1, 16)}, groups...), ",")
}

// nics returns the network devices that are hardware, or look like it.
func (h *host) nics() (names []string) {
	for _, name := range h.entries(netDir) {
		if _, err := fs.Stat(h.root, path.Join(netDir, name, "device")); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// queues returns a device's receive (rx-) or transmit (tx-) queues.
func (h *host) queues(nic, kind string) (names []string) {
	for _, name := range h.entries(path.Join(netDir, nic, "queues")) {
		if strings.HasPrefix(name, kind) {
			names = append(names, name)
		}
	}
	return names
}

// spread returns the number of cores that a device's queues of a kind serve: one per queue, or those of the masks if
// more.
func (h *host) spread(nic, kind, maskFile string) (string, bool) {
	queues := h.queues(nic, kind)
	masked := map[int]bool{}
	for _, q := range queues {
		text, _ := h.text(path.Join(netDir, nic, "queues", q, maskFile))
		digits := strings.ReplaceAll(text, ",", "")
		for i := range digits { // the last digit has the first four cores
			v, _ := strconv.ParseUint(digits[len(digits)-1-i:len(digits)-i], 16, 8)
			for bit := range 4 {
				if v>>bit&1 == 1 {
					masked[4*i+bit] = true
				}
			}
		}
	}
	return strconv.Itoa(min(h.cpus, max(len(queues), len(masked)))), len(queues) > 0
}

// interruptCores returns the number of cores that have had interrupts of a device. Interrupts are named after it, or,
// for virtio, after the device behind it.
func (h *host) interruptCores(nic string) (string, bool) {
	names := []string{nic}
	if target, err := fs.ReadLink(h.root, path.Join(netDir, nic, "device")); err == nil {
		names = append(names, path.Base(target))
	}
	cores, found := map[int]bool{}, false
	for _, line := range h.lines("proc/interrupts") {
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.ContainsFunc(names, func(n string) bool { return ofDevice(fields, n) }) {
			continue
		}
		found = true
		for i, f := range fields[1:min(len(fields), h.cpus+1)] {
			if count, err := strconv.ParseUint(f, 10, 64); err == nil && count > 0 {
				cores[i] = true
			}
		}
	}
	return strconv.Itoa(len(cores)), found
}

// ofDevice reports whether an interrupt's last field is a device's name, or begins with it and a dash.
func ofDevice(fields []string, device string) bool {
	last := fields[len(fields)-1]
	return last == device || strings.HasPrefix(last, device+"-")
}

// missed returns the number of packets that found no room in a device's ring.
func (h *host) missed(nic string) (string, bool) {
	var sum uint64
	found := false
	for _, counter := range []string{"rx_missed_errors", "rx_fifo_errors"} {
		text, ok := h.text(path.Join(netDir, nic, "statistics", counter))
		v, err := strconv.ParseUint(text, 10, 64)
		if ok && err == nil {
			sum, found = sum+v, true
		}
	}
	return strconv.FormatUint(sum, 10), found
}

// governor returns the governor of the cores: the first that is not performance, if there is one.
func (h *host) governor() (text string, ok bool) {
	const dir = "sys/devices/system/cpu/cpufreq"
	for _, policy := range h.entries(dir) {
		g, there := h.text(path.Join(dir, policy, "scaling_governor"))
		if !there {
			continue
		}
		if text, ok = g, true; g != "performance" {
			break
		}
	}
	return text, ok
}
