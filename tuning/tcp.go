package tuning

// Bounds that do not depend on N.
const (
	maxReadDefault  = 131072 // bytes: the kernel's default for tcp_rmem
	maxWriteDefault = 65536  // bytes: four times the kernel's default for tcp_wmem
	maxFinTimeout   = 30     // seconds
	minTimeWait     = 65536
	firstPort       = 10000 // below are ports that servers listen on
	firstUsualPort  = 32768 // the kernel's default: from here on servers have to be told anyhow
	lastPort        = 60999 // the kernel's default
)

// firstPortFor is the lowest port for connections that the host opens. No server listens on it or above, up to the
// kernel's own range: one that is started again must find its port free.
func firstPortFor(h *Host) uint64 {
	first := uint64(firstPort)
	for _, port := range h.listening() {
		if port >= first && port < firstUsualPort {
			first = port + 1
		}
	}
	return first
}

// tcpPagesFor is tcp_mem, in pages: a socket with anything queued is charged one page at least, and a broadcast queues
// something on all. The kernel begins to save at the second number and to drop at the third.
func tcpPagesFor(n uint64) (low, pressure, high uint64) { return n / 2, n, n + n/4 }

// timeWaitFor is the room for connections that this host closed first: they rest for 60 s, in which half of the clients
// may leave.
func timeWaitFor(n uint64) uint64 { return max(n/2, minTimeWait) }

// tcpKnobs are those of the protocol.
func tcpKnobs(h *Host) []Knob {
	const ipSysctl = "Documentation/networking/ip-sysctl.rst"
	ports := Knob{
		Name:  "net.ipv4.ip_local_port_range",
		Class: ReportOnly,
		Why: "Ports of outgoing connections, of which there can be so many from one address to one server. An " +
			"edge needs a few, for its links. A TLS proxy before it on the same host, the gateway and a load " +
			"generator need one for each client, and beyond 51,000 several addresses: ask with --dials.",
		Source: ipSysctl + "; ip(7)",
	}
	if h.need.Dials {
		ports.Class = Should
		ports.Formula = "from 10000, or above the highest port below 32768 that is listened on, to 60999"
		ports.want = func(h *Host) Want { return Want{atMost(firstPortFor(h)), atLeast(lastPort)} }
	}
	return []Knob{{
		Name:  "net.ipv4.tcp_mem",
		Class: Must,
		Why: "It bounds the buffers of all TCP sockets together, in pages, and reserves nothing. A socket with " +
			"a byte queued is charged a page; above the last number packets are dropped and sockets are " +
			"killed (out of memory -- consider tuning tcp_mem).",
		Formula: "N/2, N, N + N/4 pages",
		Source:  ipSysctl + "; tcp(7)",
		want: func(h *Host) Want {
			low, pressure, high := tcpPagesFor(h.n)
			return Want{atLeast(low), atLeast(pressure), atLeast(high)}
		},
	}, {
		Name:  "net.ipv4.tcp_rmem",
		Class: Should,
		Why: "Bytes that a socket may queue for reading: least, at first, most. It is used, not reserved, and " +
			"requests are small: a larger second number only lets each of N clients send so much more than " +
			"anybody reads.",
		Formula: "the second at most 131072; the others stay",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(anything, atMost(maxReadDefault), anything),
	}, {
		Name:  "net.ipv4.tcp_wmem",
		Class: Should,
		Why: "Bytes that a socket may queue for sending: least, at first, most. A larger second number lets " +
			"each client that reads nothing hold so much more memory before the edge sees that it must wait.",
		Formula: "the second at most 65536; the others stay",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(anything, atMost(maxWriteDefault), anything),
	}, {
		Name:  "net.ipv4.tcp_max_orphans",
		Class: Should,
		Why: "It bounds the sockets that no process has any more and whose closing is not acknowledged yet. " +
			"When an edge ends, all of its sockets are such at once; those beyond the bound are reset, and " +
			"the last reply in them is lost.",
		Formula: "N",
		Source:  ipSysctl + "; tcp(7)",
		want:    func(h *Host) Want { return Want{atLeast(h.n)} },
	}, {
		Name:  "net.ipv4.tcp_max_tw_buckets",
		Class: Should,
		Why: "It bounds the connections that rest in TIME-WAIT, for 60 s, after this side closed them first. " +
			"Beyond it they are forgotten at once, and a stray packet may meet a new connection with the same " +
			"ports.",
		Formula: "N/2, at least 65536; 256 bytes each while in use",
		Source:  ipSysctl + "; tcp(7); RFC 9293, 3.6.1",
		want:    func(h *Host) Want { return Want{atLeast(timeWaitFor(h.n))} },
	}, {
		Name:  "net.ipv4.tcp_fin_timeout",
		Class: Should,
		Why: "Seconds that an orphan waits for the other side's FIN. Phones that are gone never send it, and " +
			"each is kept in memory for so long. It has nothing to do with TIME-WAIT.",
		Formula: "at most 30",
		Source:  ipSysctl + "; tcp(7)",
		want:    constant(atMost(maxFinTimeout)),
	}, {
		Name:  "net.ipv4.tcp_tw_reuse",
		Class: Should,
		Why: "Lets outgoing connections take a port that rests in TIME-WAIT: those of the gateway, of a proxy " +
			"before the edge, of a load generator. 2, the kernel's default, does so on the loopback device " +
			"only. It does nothing for incoming ones.",
		Formula: "1 or 2",
		Source:  ipSysctl + "; RFC 6191",
		want:    constant(atLeast(1)),
	}, {
		Name:  "net.ipv4.tcp_slow_start_after_idle",
		Class: Should,
		Why: "With 1 a connection that was idle begins again with ten segments. A held poll is idle nearly " +
			"always, so each larger reply would take more round trips than it must.",
		Formula: "0",
		Source:  ipSysctl + "; RFC 2861",
		want:    constant(exactly(0)),
	}, {
		Name:  "net.ipv4.tcp_migrate_req",
		Class: Should,
		Why: "Hands the handshakes of a listener that closes to another one on the same port. Without it, " +
			"those in the queue of a reactor, or of an edge that is being replaced, are reset.",
		Formula: "1; Linux 5.14 and later",
		Source:  ipSysctl,
		want:    constant(exactly(1)),
	}, ports, {
		Name:  "net.ipv4.tcp_keepalive_time",
		Class: ReportOnly,
		Why: "The edge sets keep-alive on each of its sockets (2 minutes, 4 probes, and a TCP_USER_TIMEOUT " +
			"for all of them), so this is for the other programs of the host only.",
		Source: ipSysctl + "; tcp(7)",
	}, {
		Name:   "net.ipv4.tcp_keepalive_intvl",
		Class:  ReportOnly,
		Why:    "As tcp_keepalive_time: the edge sets its own.",
		Source: ipSysctl + "; tcp(7)",
	}, {
		Name:   "net.ipv4.tcp_keepalive_probes",
		Class:  ReportOnly,
		Why:    "As tcp_keepalive_time: the edge sets its own.",
		Source: ipSysctl + "; tcp(7)",
	}}
}
