#!/bin/busybox sh
# qemu-init.sh - the first process of the guest that scripts/qemu-tune.sh starts: tune a stock kernel, hold N sessions
# through one edge with one descriptor table, set everything back
#
# It says what it does on the console. A line that begins with "guest: " is for qemu-tune.sh; the last one is
# "guest: passed" or "guest: failed WHY".
#
# shellcheck shell=dash disable=SC2086 # $tune and $doctor are commands with their options
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
ip addr add 127.0.0.1/8 dev lo 2>/dev/null

tell() { echo "guest: $*"; }

# finish RESULT: says it and turns the machine off.
finish() {
	tell "$@"
	sync
	poweroff -f
	sleep 60
}

# expect STATUS COMMAND...: the command must end with it.
expect() {
	wanted=$1
	shift
	"$@"
	got=$?
	[ "$got" -eq "$wanted" ] || finish "failed: $* ended with $got, not with $wanted"
}

# parameter NAME: of the kernel's command line.
parameter() { sed -n "s/.*megaphone\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

# sysctls: all that can be read, as they are now.
sysctls() {
	grep -r '' /proc/sys/net /proc/sys/fs/file-max /proc/sys/fs/nr_open /proc/sys/vm \
		/sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null | grep -v -e stat_refresh -e flush | sort
}

# established: TCP sockets of the machine, both ends of each connection.
established() { sed -n 's/^TCP: inuse \([0-9]*\).*/\1/p' /proc/net/sockstat; }

available() { sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo; }

# network NAME: one of the counters of TcpExt.
network() {
	awk -v name="$1" '/^TcpExt:/ { if (n++) print $at; else for (i = 1; i <= NF; i++) if ($i == name) at = i }' \
		/proc/net/netstat
}

status_of() { sed -n "s/^$2:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$1/status"; } # status_of PID KEY

sessions=$(parameter sessions)
rate=$(parameter rate)
hold=$(parameter hold)
edge_sockets=$((sessions + 1000))
sockets=$((2 * edge_sockets)) # both ends are here
tune="tune.sh --sockets $sockets --descriptor-tables off"
doctor="megaphone doctor --sockets $sockets --descriptor-tables off"

echo # the firmware leaves no line of its own
tell "kernel $(uname -r), $(sed -n 's/^MemTotal: *//p' /proc/meminfo), RLIMIT_NOFILE $(ulimit -n), hard $(ulimit -Hn)"
sysctls >/tmp/before

tell "before: neither the script nor the doctor may be content"
expect 1 $tune --check
expect 3 $doctor

tell "apply, and once more, which changes nothing"
expect 0 $tune --apply
sysctls >/tmp/applied
expect 0 $tune --apply
sysctls | cmp -s - /tmp/applied || finish "failed: a second --apply changed something"
ulimit -n $((sockets + 4096)) || finish "failed: RLIMIT_NOFILE cannot be raised"
expect 0 $tune --check
expect 0 $doctor

tell "hold $sessions sessions for $hold s"
megaphone --log-level warn origin --listen 127.0.0.1:5279 --max-sessions "$sockets" --max-wait 900 --inactivity 900 &
megaphone edge --listen 127.0.0.1:5280 --origin a=127.0.0.1:5279 --descriptor-tables off \
	--max-connections "$edge_sockets" --hold-timeout 1h --idle-timeout 1h --ping-timeout 5m &
edge=$!
sleep 2
megaphone load --target http://127.0.0.1:5280/http-bind --scenario hold --sessions "$sessions" --rate "$rate" \
	--wait 900 --patience 5m --duration 10h --report /tmp/report.json >/tmp/load.out 2>&1 &
load=$!
# Once all are there and were for $hold seconds without a break, the load is told to stop.
most=0 step=0 since=
while kill -0 $load 2>/dev/null; do
	sleep 1
	now=$(established) at=$(cut -d. -f1 /proc/uptime)
	[ "$now" -le "$most" ] || most=$now
	resident=$(status_of $edge VmRSS)
	if [ "$((now / 20000))" -ne "$step" ]; then
		step=$((now / 20000))
		tell "$at s: $now sockets, edge $((resident / 1024)) MiB, $(($(available) / 1024)) MiB left"
	fi
	if [ "$now" -lt $((2 * sessions)) ]; then
		since=
	elif [ $((at - ${since:=$at})) -ge "$hold" ]; then
		break
	fi
done
table=$(status_of $edge FDSize)
tell "so far ListenOverflows=$(network ListenOverflows) TCPBacklogDrop=$(network TCPBacklogDrop)" \
	"TCPAbortOnTimeout=$(network TCPAbortOnTimeout) TCPMemoryPressures=$(network TCPMemoryPressures)" \
	"packets dropped before TCP: $(($(awk '{ s = s " + 0x" $2 } END { print s }' /proc/net/softnet_stat)))"
kill -INT $load
wait $load
code=$?
cat /tmp/load.out
kill -USR1 $edge && sleep 1
kill $edge && wait $edge

tell "result sockets_at_most=$most edge_rss_kib=$resident edge_descriptor_table=$table load_status=$code"
tell "report begins"
cat /tmp/report.json
echo
tell "report ends"
[ "$code" -eq 130 ] || finish "failed: the load ended with $code: it lost sessions, or stopped too early"
[ "$table" -ge "$sessions" ] || finish "failed: the edge's descriptor table has $table places: that is not one for all"

tell "revert"
expect 0 tune.sh --revert
sysctls >/tmp/after
diff /tmp/before /tmp/after || finish "failed: --revert left something else than there was"
finish passed
