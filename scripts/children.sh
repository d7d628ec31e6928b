# shellcheck shell=bash
# Sourced by scripts that start other programs. However such a script ends, by itself, by an error, by Ctrl-C, SIGTERM or
# SIGHUP, it first ends all that it has started and all that that has started, daemons in sessions of their own included:
# they are known by their parents, or by a mark in their environment.
#
#   await COMMAND...   runs a command so that a signal to the script ends it at once; otherwise bash waits for it first
#   at_end COMMAND     to be run before the rest is ended

children_mark=$$.$(date +%s%N)
export MEGAPHONE_STARTED_BY="${MEGAPHONE_STARTED_BY:-} $children_mark"
children_at_end=':'

at_end() { children_at_end="$children_at_end; $1"; }

await() {
	"$@" &
	wait $!
}

# children_of PID: its children and theirs, but not $asking and its descendants.
children_of() {
	local child
	# shellcheck disable=SC2013
	for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
		[ "$child" != "$asking" ] || continue
		echo "$child"
		children_of "$child"
	done
}

# children: all of them that have not ended. Call it in a subshell, $(children), that ends with the answer.
children() {
	local pid asking=$BASHPID
	export -n MEGAPHONE_STARTED_BY
	{
		children_of $$
		grep -lsz "^MEGAPHONE_STARTED_BY=.* $children_mark" /proc/[0-9]*/environ | sed 's,[^0-9],,g'
	} | sort -u | while read -r pid; do
		! grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" || echo "$pid"
	done
}

end_children() {
	local status=$? signal=TERM pids end=$((SECONDS + 3))
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	eval "$children_at_end"
	exec 2>/dev/null # bash tells of each that is killed
	while pids=$(children); [ -n "$pids" ]; do
		[ "$SECONDS" -lt "$end" ] || signal=KILL
		# shellcheck disable=SC2086
		kill -"$signal" $pids 2>/dev/null
		sleep 0.05
	done
	exit "$status"
}

trap end_children EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
