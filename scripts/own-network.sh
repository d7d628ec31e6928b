#!/usr/bin/env bash
# Runs a command in a network namespace of its own. Its kernel table of TCP connections has that many buckets, which
# can be set on the host itself only when it boots (thash_entries). The namespace has the loopback device and the
# host's settings.
#
#   scripts/own-network.sh 4194304 scripts/bench-million.sh --storm 6s      a million clients and both their ends
#
# Needs root and Linux 6.1. It changes nothing on the host.
set -euo pipefail
if [ $# -lt 2 ]; then
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
fi
buckets=$1
shift
size=/proc/sys/net/ipv4/tcp_child_ehash_entries
if [ ! -w $size ]; then
	echo "own-network: $size cannot be written: it takes root and Linux 6.1" >&2
	exit 1
fi
settings=$(mktemp)
before=$(<$size)
trap 'echo "$before" >$size; rm -f "$settings"' EXIT
# A new namespace has the defaults of most settings.
(cd /proc/sys && grep -rs . net/core net/ipv4 --include='*' | grep -vE '/(conf|neigh|route)/|ehash|hash_entries') \
	>"$settings" || true
echo "$buckets" >$size
status=0
# shellcheck disable=SC2016
SETTINGS=$settings unshare --net bash -c '
	ip link set lo up
	while IFS=: read -r key value; do
		file=/proc/sys/$key
		[ -w "$file" ] && [ "$(<"$file")" != "$value" ] && echo "$value" >"$file"
	done <"$SETTINGS" 2>/dev/null
	exec "$@"' own-network "$@" || status=$?
exit $status
