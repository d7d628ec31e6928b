package tuning

import "strings"

// Bounds that do not depend on N.
const (
	maxReadDefault  = 131072 // bytes: the kernel's default for tcp_rmem
	maxWriteDefault = 65536  // bytes: four times the kernel's default for tcp_wmem
	maxFinTimeout   = 30     // seconds
	minTimeWait     = 65536
	firstPort       = 10000 // servers listen on ports below it
	firstUsualPort  = 32768 // the kernel's default: servers on higher ports need special configuration anyway
	lastPort        = 60999 // the kernel's default
)

// firstPortFor returns the lowest port for connections that the host opens. It is above the ports of all servers, up to
// the kernel's own range, because a restarted server must find its port free.
func firstPortFor(h *host) uint64 {
	first := uint64(firstPort)
	for _, port := range h.listening() {
		if port >= first && port < firstUsualPort {
			first = port + 1
		}
	}
	return first
}

// tcpPagesFor returns tcp_mem, in pages. A socket with anything queued is charged at least one page, and a broadcast
// queues something on all. The kernel starts to save at the second number and to drop at the third.
func tcpPagesFor(n uint64) (low, pressure, high uint64) { return n / 2, n, n + n/4 }

// timeWaitFor returns the room for connections that this host closed first. They stay for 60 s, in which half of the
// clients may leave.
func timeWaitFor(n uint64) uint64 { return max(n/2, minTimeWait) }

// tcpKnobs returns the knobs of the protocol.
func tcpKnobs(h *host) []knob {
	const ipSysctl = "Documentation/networking/ip-sysctl.rst"
	ports := knob{
		Name:  "net.ipv4.ip_local_port_range",
		Class: ReportOnly,
		Why: "Ports of outgoing connections: it bounds the connections from one address to one server. An " +
			"edge needs a few, for its links. A TLS proxy on the same host, the gateway and a load " +
			"generator need one per client, and several addresses beyond 51,000: ask with --dials.",
		Source: ipSysctl + "; ip(7)",
	}
	if h.need.Dials {
		ports.Class = Should
		ports.Formula = "from 10000, or above the highest listening port below 32768, to 60999"
		ports.want = func(h *host) want { return want{atMost(firstPortFor(h)), atLeast(lastPort)} }
	}
	return []knob{{
		Name:  "net.ipv4.tcp_mem",
		Class: Must,
		Why: "It bounds the buffers of all TCP sockets together, in pages, and reserves nothing. A socket " +
			"with a byte queued is charged a page. Above the last number packets are dropped and sockets " +
			"are killed (out of memory -- consider tuning tcp_mem).",
		Formula: "N/2, N, N + N/4 pages",
		Source:  ipSysctl + "; tcp(7)",
		want: func(h *host) want {
			low, pressure, high := tcpPagesFor(h.n)
			return want{atLeast(low), atLeast(pressure), atLeast(high)}
		},
	}, {
		Name:  "net.ipv4.tcp_rmem",
		Class: Should,
		Why: "Bytes that a socket may queue for reading: minimum, initial, maximum. They are used, not " +
			"reserved, and requests are small. A larger second number only lets each of N clients fill " +
			"more memory with unread input.",
		Formula: "the second at most 131072; the others stay",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(anything, atMost(maxReadDefault), anything),
	}, {
		Name:  "net.ipv4.tcp_wmem",
		Class: Should,
		Why: "Bytes that a socket may queue for sending: minimum, initial, maximum. With a larger second " +
			"number, each client that does not read holds more memory before the edge notices.",
		Formula: "the second at most 65536; the others stay",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(anything, atMost(maxWriteDefault), anything),
	}, {
		Name:  "net.ipv4.tcp_max_orphans",
		Class: Should,
		Why: "It bounds the sockets that belong to no process and still wait for the acknowledgement of " +
			"their close. When an edge exits, all of its sockets become orphans at once. Those beyond the " +
			"bound are reset, and their last reply is lost.",
		Formula: "N",
		Source:  ipSysctl + "; tcp(7)",
		want:    func(h *host) want { return want{atLeast(h.n)} },
	}, {
		Name:  "net.ipv4.tcp_max_tw_buckets",
		Class: Should,
		Why: "It bounds the connections in TIME-WAIT, where they stay for 60 s after this side closed them " +
			"first. Beyond it they are forgotten at once, and a stray packet may meet a new connection " +
			"with the same ports.",
		Formula: "N/2, at least 65536; 256 bytes each while in use",
		Source:  ipSysctl + "; tcp(7); RFC 9293, 3.6.1",
		want:    func(h *host) want { return want{atLeast(timeWaitFor(h.n))} },
	}, {
		Name:  "net.ipv4.tcp_fin_timeout",
		Class: Should,
		Why: "Seconds that an orphan waits for the other side's FIN. Phones that have vanished never send " +
			"it, and each occupies memory for that long. It has nothing to do with TIME-WAIT.",
		Formula: "at most 30",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(atMost(maxFinTimeout)),
	}, {
		Name:  "net.ipv4.tcp_tw_reuse",
		Class: Should,
		Why: "It lets outgoing connections reuse a port in TIME-WAIT: those of the gateway, of a proxy " +
			"before the edge, of a load generator. 2, the kernel's default, does so only on the loopback " +
			"device. It does nothing for incoming connections.",
		Formula: "1 or 2",
		Source:  ipSysctl + "; RFC 6191",
		want:    constant(atLeast(1)),
	}, {
		Name:  "net.ipv4.tcp_slow_start_after_idle",
		Class: Should,
		Why: "With 1 an idle connection starts again with ten segments. A held poll is nearly always idle, " +
			"so each larger reply would take extra round trips.",
		Formula: "0",
		Source:  ipSysctl + "; RFC 2861",
		want:    constant(exactly(0)),
	}, {
		Name:  "net.ipv4.tcp_migrate_req",
		Class: Should,
		Why: "It hands the handshakes of a closing listener to another one on the same port. Without it, " +
			"those in the queue of a reactor, or of a replaced edge, are reset.",
		Formula: "1; Linux 5.14 and later",
		Source:  ipSysctl,
		want:    constant(exactly(1)),
	}, ports, {
		Name:  "connection table",
		Class: ReportOnly,
		Why: "Buckets of the table in which the kernel finds a packet's connection. With eight connections a " +
			"bucket, a million held clients cost an eighth of all CPU time in it. The kernel makes at most " +
			"524288 unless its command line says more.",
		Formula: "N; net.ipv4.tcp_ehash_entries in Linux 6.1 and later",
		Source:  ipSysctl + "; Documentation/admin-guide/kernel-parameters.txt, thash_entries",
		want:    func(h *host) want { return want{atLeast(h.n)} },
		read:    (*host).establishedBuckets,
		fix: func(n string) string {
			return "boot with thash_entries=" + n + "; a container has a table of its own if it is started after " +
				"sysctl -w net.ipv4.tcp_child_ehash_entries=" + n
		},
	}, {
		Name:  "net.ipv4.tcp_keepalive_time",
		Class: ReportOnly,
		Why: "The edge sets keep-alive on each of its sockets (2 minutes, 4 probes, and a TCP_USER_TIMEOUT " +
			"for all of them), so this is only for other programs of the host.",
		Source: ipSysctl + "; tcp(7)",
	}, {
		Name:   "net.ipv4.tcp_keepalive_intvl",
		Class:  ReportOnly,
		Why:    "See tcp_keepalive_time: the edge sets its own.",
		Source: ipSysctl + "; tcp(7)",
	}, {
		Name:   "net.ipv4.tcp_keepalive_probes",
		Class:  ReportOnly,
		Why:    "See tcp_keepalive_time: the edge sets its own.",
		Source: ipSysctl + "; tcp(7)",
	}}
}

// establishedBuckets returns the size of the table of established connections. The kernel shows that of another
// namespace, which this one shares, as a negative number.
func (h *host) establishedBuckets() (string, bool) {
	text, ok := h.text(sysctlFile("net.ipv4.tcp_ehash_entries"))
	return strings.TrimPrefix(text, "-"), ok
}
