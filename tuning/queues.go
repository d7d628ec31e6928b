package tuning

// Bounds of the formulas for queues.
const (
	minBacklog = 4096  // the kernel's default since 5.4
	maxBacklog = 65535 // the edge's argument to listen; older kernels keep it in 16 bits
	maxNetdev  = 30000 // packets: some 60 MB if all are there, and the delay of a queue this long
)

// backlogFor returns the room for connections that arrive while a reactor is busy. After a restart all clients come
// back within a minute, so a 16th arrives within some four seconds.
func backlogFor(n uint64) uint64 { return clamp(n/16, minBacklog, maxBacklog) }

// netdevFor returns the room for packets between the device and the protocol. The acknowledgements of a broadcast come
// back in a burst, and a 50th of them arrives while one core is busy for 20 ms of a second.
func netdevFor(n uint64) uint64 { return clamp(n/50, 1000, maxNetdev) }

// queueKnobs returns the queues that incoming connections and packets pass through.
func queueKnobs() []knob {
	return []knob{{
		Name:  "net.core.somaxconn",
		Class: Should,
		Why: "It bounds the queue of connections waiting for accept, whatever the program passes to " +
			"listen. When it is full, the last packet of a handshake is dropped, and the client retries a " +
			"second later.",
		Formula: "N/16, 4096 to 65535",
		Source:  "Documentation/networking/ip-sysctl.rst; listen(2)",
		want:    func(h *host) want { return want{atLeast(backlogFor(h.n))} },
	}, {
		Name:  "net.ipv4.tcp_max_syn_backlog",
		Class: Should,
		Why: "It bounds the handshakes in progress. Beyond it the kernel sends SYN cookies, which lose " +
			"window scaling and selective acknowledgement if timestamps are off.",
		Formula: "N/16, 4096 to 65535",
		Source:  "Documentation/networking/ip-sysctl.rst; tcp(7)",
		want:    func(h *host) want { return want{atLeast(backlogFor(h.n))} },
	}, {
		Name:  "net.core.netdev_max_backlog",
		Class: Should,
		Why: "It bounds the packets per core between device and protocol, with RPS and on the loopback " +
			"device. Packets beyond it are dropped and sent again after 200 ms at the earliest.",
		Formula: "N/50, 1000 to 30000",
		Source:  "Documentation/admin-guide/sysctl/net.rst",
		want:    func(h *host) want { return want{atLeast(netdevFor(h.n))} },
	}, {
		Name:  "net.netfilter.nf_conntrack_max",
		Class: Must,
		Why: "Connection tracking, if its module is loaded, has an entry for each connection and drops " +
			"packets of new ones when it is full. It is better not to track the edge's port at all: nft " +
			"add rule ip raw prerouting tcp dport 5280 notrack, and the same for sport in output.",
		Formula: "N + N/4, some 400 bytes each while in use",
		Source:  "Documentation/networking/nf_conntrack-sysctl.rst; nft(8), notrack",
		want:    func(h *host) want { return want{atLeast(h.n + h.n/4)} },
	}}
}
