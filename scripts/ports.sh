# shellcheck shell=bash
# ports.sh - free ports for private servers; to be sourced. The sourcing script has a function fail.

# free PORT: nothing listens there.
free() { ! grep -qs ":$(printf %04X "$1") [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6; }

# free_port: a TCP port that nothing listens on, out of a range that the kernel gives to no outgoing connection. A host
# that dials much may begin its own range at 10000.
free_port() {
	local port low base
	read -r low _ </proc/sys/net/ipv4/ip_local_port_range
	base=$((low > 20000 ? 10000 : low / 2))
	for _ in $(seq 200); do
		port=$((base + (RANDOM * 32768 + RANDOM) % (low - base)))
		if free "$port"; then
			echo "$port"
			return
		fi
	done
	fail "no free port between $base and $low"
}
