#!/bin/sh
# tune.sh - get a Linux host ready for N sockets, and undo it
#
#   tune.sh --sockets N --check      compare, change nothing
#   tune.sh --sockets N --apply      set values that are too low, until the next boot
#   tune.sh --sockets N --persist    write these values into a drop-in for every later boot
#   tune.sh --revert                 restore the values from before the first --apply, remove the drop-in
#
# N is all sockets of the host: the edge's clients, and a load generator's if it runs here too. Nothing but a POSIX
# shell is needed. `megaphone doctor --sockets N --explain` has the reason of each knob, and the same formulas. N may be
# written 1000000, 1_000_000, 1,000,000, 1000k or 1M.
#
# OPTIONS
#   --descriptor-tables auto|on|off   as the edge's. off: all sockets are in one table, and RLIMIT_NOFILE is a must
#   --dials          the host opens many connections too: a TLS proxy, a gateway or a load generator is on it. Their
#                    ports begin above those below 32768 with a listener now: start your servers first
#   --only PREFIX    only knobs whose names begin so, for example net.
#   --state FILE     where --apply notes the old values (default /var/lib/megaphone/tune.state)
#   --drop-in FILE   what --persist writes (default /etc/sysctl.d/90-megaphone.conf)
#   --root DIR       use DIR instead of /, for proc, sys, state and drop-in (tests)
#   --help           this text
#
# WHAT IT DOES
#   A wanted value is a condition for each field: >=N, <=N, =N, a word, - for any. Values that are as good or
#   better stay, also within a value of several fields. --apply announces each change, and notes the old value first; a
#   second run changes nothing, and the first note stays. It cannot change the RLIMIT_NOFILE of other programs, nor the
#   memory, and names a remedy for them.
#
#   Knobs that cannot be set are named with the reason, and the rest is set. Absent knobs (a module that is not loaded,
#   an older kernel, a network namespace that shows a part only) are left out.
#
# EXIT STATUS
#   0  --check: every required value is right. Otherwise: everything was done
#   1  --check: a required value is wrong. Otherwise: something could not be done, and standard error names it
#   2  an option is wrong
#
# FILES
#   /var/lib/megaphone/tune.state      one line for each changed knob: its name and its old value
#   /etc/sysctl.d/90-megaphone.conf    read at boot; see sysctl.d(5)
# shellcheck disable=SC2317 # some functions are called by names in variables
set -u

me=tune
sockets='' mode='' tables=auto dials='' only='' state='' drop_in='' root=''
thp=/sys/kernel/mm/transparent_hugepage/enabled
mark='# Written by tune.sh of Megaphone'

say() { printf '%s\n' "$*"; }
complain() { printf '%s: %s\n' "$me" "$*" >&2; }
wrong() {
	complain "$*"
	complain "try $0 --help"
	exit 2
}

usage() {
	while IFS= read -r line; do
		case $line in
		'#!'*) ;;
		'#'*) line=${line#\#}; say "${line# }" ;;
		*) return ;;
		esac
	done <"$0"
}

options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--sockets | --descriptor-tables | --only | --state | --drop-in | --root)
			[ $# -gt 1 ] || wrong "$1: needs a value" ;;
		esac
		case $1 in
		--sockets) sockets=$2; shift ;;
		--descriptor-tables) tables=$2; shift ;;
		--dials) dials=yes ;;
		--only) only=$2; shift ;;
		--state) state=$2; shift ;;
		--drop-in) drop_in=$2; shift ;;
		--root) root=${2%/}; shift ;;
		--check | --apply | --persist | --revert)
			[ -z "$mode" ] || wrong "$1: --$mode was asked for already: one at a time"
			mode=${1#--} ;;
		--help | -h) usage; exit 0 ;;
		*) wrong "$1: no such option" ;;
		esac
		shift
	done
	[ -n "$mode" ] || wrong "say what to do: --check, --apply, --persist or --revert"
	case $tables in auto | on | off) ;; *) wrong "--descriptor-tables $tables: use auto, on or off" ;; esac
	state=${state:-$root/var/lib/megaphone/tune.state}
	drop_in=${drop_in:-$root/etc/sysctl.d/90-megaphone.conf}
	[ "$mode" = revert ] && return
	[ -n "$sockets" ] || wrong "--sockets N is missing: how many are they to be?"
	plain "$sockets" || number=
	case $number in
	'' | *[!0-9]* | 0* | ??????????*) wrong "--sockets $sockets: use 1 to 999999999, for example 1000000, 10k or 1M" ;;
	esac
	sockets=$number
	[ -r "$root/proc/meminfo" ] || wrong "$root/proc is not there: is it mounted?"
}

# plain N: $number is N in digits only: 1000000 for 1_000_000, 1,000,000 and 1M. False: it is no such number.
plain() {
	number=$1 zeros='' times=1
	case $number in
	*Ki) number=${number%Ki} times=1024 ;;
	*Mi) number=${number%Mi} times=1048576 ;;
	*[kK]) number=${number%?} zeros=000 ;;
	*M) number=${number%M} zeros=000000 ;;
	*G) number=${number%G} zeros=000000000 ;;
	esac
	joined=${number%%,*} rest=${number#"${number%%,*}"}
	[ -z "$rest" ] || case $joined in '' | ????*) return 1 ;; esac
	while [ -n "$rest" ]; do
		case $rest in ,[0-9][0-9][0-9] | ,[0-9][0-9][0-9][,.]*) ;; *) return 1 ;; esac
		rest=${rest#,}
		digits=${rest%"${rest#???}"}
		joined=$joined$digits rest=${rest#???}
		case $rest in .*) joined=$joined$rest rest='' ;; esac
	done
	case $joined in _* | *_ | *__*) return 1 ;; esac
	number=$(printf '%s' "$joined" | tr -d _)
	case $number in
	*.*.* | .* | *.) return 1 ;;
	*.*) # 1.5M: as many digits behind the point as the unit has zeros
		fraction=${number#*.}
		while [ ${#fraction} -lt ${#zeros} ]; do fraction=${fraction}0; done
		[ ${#fraction} -eq ${#zeros} ] || return 1
		number=${number%%.*}$fraction ;;
	*) number=$number$zeros ;;
	esac
	case $number in '' | *[!0-9]* | ??????????????*) return 1 ;; esac
	while :; do case $number in 0?*) number=${number#0} ;; *) break ;; esac; done
	number=$((number * times))
}

# ---- Reading ----

# file NAME: where a knob's value is.
file() {
	case $1 in
	transparent_hugepage) say "$root$thp" ;;
	*) say "$root/proc/sys/$(say "$1" | tr . /)" ;;
	esac
}

# now NAME: a knob's value with single spaces; nothing, and false, when it is absent.
now() {
	value=
	case $1 in
	MemAvailable) value=$(meminfo MemAvailable) ;;
	RLIMIT_NOFILE) value=$(open_files) ;;
	transparent_hugepage)
		value=$(cat "$root$thp" 2>/dev/null) || return 1
		value=${value#*\[}
		value=${value%%\]*} ;;
	*) value=$(cat "$(file "$1")" 2>/dev/null) || return 1 ;;
	esac
	# shellcheck disable=SC2086 # its fields, with tabs and spaces between them
	set -- $value
	say "$*"
	[ -n "$*" ]
}

# meminfo KEY: in KiB.
meminfo() {
	while read -r key value _; do
		[ "$key" != "$1:" ] || { say "$value"; return; }
	done <"$root/proc/meminfo"
}

# open_files: the hard RLIMIT_NOFILE; Go raises its own soft limit to that.
open_files() {
	while read -r a b c _ hard _; do
		[ "$a $b $c" != 'Max open files' ] || { say "$hard"; return; }
	done <"$root/proc/self/limits"
}

# ---- The knobs ----

clamp() { # clamp N LOW HIGH
	if [ "$1" -lt "$2" ]; then say "$2"; elif [ "$1" -gt "$3" ]; then say "$3"; else say "$1"; fi
}

# knobs COMMAND: calls COMMAND CLASS NAME WANTED for each. Package tuning has the reasons; a test compares the two.
knobs() {
	do=$1 n=$sockets
	total=$(meminfo MemTotal)
	backlog=$(clamp $((n / 16)) 4096 65535)
	open_class=should limit_class=should
	[ "$tables" != off ] || open_class=must limit_class=must
	# Private tables of at most 4096 reactors, with 105 descriptors for other things in each, must do: 72 for refusals,
	# 16 links, a listener, and 16 of the reactor's own. The table of the other threads has 2 for each reactor, and 64.
	hard=$(open_files 2>/dev/null)
	if [ -n "$hard" ]; then
		most=$(clamp $(((hard - 64) / 2)) 0 4096)
		[ $((most * $(clamp $((hard - 105)) 0 999999999))) -ge "$n" ] || limit_class=must
	fi
	knob must MemAvailable ">=$(((n * 8199 + 67108864) / 1024))"
	knob should vm.min_free_kbytes ">=$(clamp $((n * 4 / 50)) 0 $((total / 64)))"
	knob should vm.max_map_count '>=65530'
	knob should transparent_hugepage 'madvise/never'
	knob must fs.file-max ">=$((n + n / 4 + 16384))"
	knob $open_class fs.nr_open ">=$((n + 4096))"
	knob $limit_class RLIMIT_NOFILE ">=$((n + 4096))"
	knob should net.core.somaxconn ">=$backlog"
	knob should net.ipv4.tcp_max_syn_backlog ">=$backlog"
	knob should net.core.netdev_max_backlog ">=$(clamp $((n / 50)) 1000 30000)"
	knob must net.netfilter.nf_conntrack_max ">=$((n + n / 4))"
	knob must net.ipv4.tcp_mem ">=$((n / 2)) >=$n >=$((n + n / 4))"
	knob should net.ipv4.tcp_rmem '- <=131072 -'
	knob should net.ipv4.tcp_wmem '- <=65536 -'
	knob should net.ipv4.tcp_max_orphans ">=$n"
	knob should net.ipv4.tcp_max_tw_buckets ">=$(clamp $((n / 2)) 65536 999999999)"
	knob should net.ipv4.tcp_fin_timeout '<=30'
	knob should net.ipv4.tcp_tw_reuse '>=1'
	knob should net.ipv4.tcp_slow_start_after_idle '=0'
	knob should net.ipv4.tcp_migrate_req '=1'
	[ -z "$dials" ] || knob should net.ipv4.ip_local_port_range "<=$(first_port) >=60999"
}

# first_port: the lowest for connections that the host opens. Nothing listens there or above, up to the kernel's range.
first_port() {
	first=10000
	for port in $(listening); do
		[ "$port" -lt "$first" ] || [ "$port" -ge 32768 ] || first=$((port + 1))
	done
	say "$first"
}

# listening: the TCP ports that something listens on.
listening() {
	grep -hs ' 0A ' "$root/proc/net/tcp" "$root/proc/net/tcp6" | while read -r _ address _ is _; do
		[ "$is" != 0A ] || say $((0x${address##*:}))
	done
}

knob() {
	case $2 in "$only"*) "$do" "$@" ;; esac
}

# at_least A B: A >= B, also where A is beyond what the shell can count to.
at_least() {
	case $1 in *[!0-9]* | '') return 1 ;; esac
	[ ${#1} -gt 18 ] || [ "$1" -ge "$2" ]
}

# merge NOW WANTED: the value to set, in which fields that are as good as wanted stay. False: it is not understood.
merge() {
	merged=
	rest=$1
	for term in $2; do
		[ -n "$rest" ] || return 1
		field=${rest%% *}
		case $rest in *' '*) rest=${rest#* } ;; *) rest= ;; esac
		case $term in
		-) ;;
		'>='*) at_least "$field" "${term#>=}" || field=${term#>=} ;;
		'<='*) [ "$field" = "${term#<=}" ] || ! at_least "$field" "${term#<=}" || field=${term#<=} ;;
		'='*) field=${term#=} ;;
		*) case "/$term/" in */"$field"/*) ;; *) field=${term%%/*} ;; esac ;;
		esac
		merged="${merged:+$merged }$field"
	done
	[ -z "$rest" ] && say "$merged"
}

# ---- --check ----

row() {
	if [ ${#4} -le 14 ]; then
		printf '%-6s  %-34s  %-20s  %s\n' "$@"
	else # below, so that no line has more than 80 columns
		printf '%-6s  %-34s  %s\n%44s%s\n' "$1" "$2" "$3" '' "$4"
	fi
}

check_one() { # CLASS NAME WANTED
	if ! value=$(now "$2"); then
		row absent "$2" - "$3"
	elif ! set=$(merge "$value" "$3"); then
		row - "$2" "$value" "$3"
	elif [ "$set" = "$value" ]; then
		row ok "$2" "$value" "$3"
	elif [ "$1" = must ]; then
		row MUST "$2" "$value" "$3"
		lacking="$lacking $2"
	else
		row "$1" "$2" "$value" "$3"
	fi
}

check() {
	lacking=
	row '' knob now wanted
	knobs check_one
	[ -n "$lacking" ] || { say "This host fits $sockets sockets."; return 0; }
	say "This host does NOT fit $sockets sockets, because of$lacking."
	return 1
}

# ---- --apply ----

noted() { [ -f "$state" ] && grep -q "^$1 " "$state"; }

# forget NAME: drops a knob's line from the state.
forget() {
	grep -v "^$1 " "$state" >"$state.new"
	mv "$state.new" "$state"
}

# set_value NAME VALUE: sets it, and sees that it is so. False: $reason says why not.
set_value() {
	path=$(file "$1")
	if ! reason=$({ printf '%s\n' "$2" >"$path"; } 2>&1); then
		reason=${reason##*: }
		return 1
	fi
	reason="the kernel made it $(now "$1")"
	[ "$(now "$1")" = "$2" ]
}

failed() {
	complain "$*"
	status=1
}

limit_hint() { # VALUE
	say "RLIMIT_NOFILE belongs to each program. For the edge: LimitNOFILE=$1 in the [Service] of its unit;"
	say "for log-ins: '* hard nofile $1' in a file in /etc/security/limits.d; in a shell, as root: ulimit -n $1."
}

apply_one() { # CLASS NAME WANTED
	value=$(now "$2") || { say "$2: absent, left out"; return; }
	set=$(merge "$value" "$3") || { failed "$2: $value is not understood, left as it is"; return; }
	[ "$set" != "$value" ] || return
	case $2 in
	RLIMIT_NOFILE) limit_hint "$set"; return ;;
	MemAvailable) say "MemAvailable: $value KiB, wanted $set: more memory, or fewer sockets on this host"; return ;;
	esac
	say "$2: $value -> $set"
	noted "$2" || {
		say "$2 $value" >>"$state"
		new=yes
	}
	set_value "$2" "$set" || {
		failed "$2: cannot be set: $reason"
		[ "$(now "$2")" != "$value" ] || [ -z "$new" ] || forget "$2"
	}
	new=
}

# spared: which ports are left to servers.
spared() {
	first=$(first_port)
	[ -z "$dials" ] || [ "$first" -eq 10000 ] ||
		say "net.ipv4.ip_local_port_range: from $first on, as something listens on $((first - 1))"
}

apply() {
	new=
	spared
	if ! mkdir -p "$(dirname "$state")" || ! printf '' >>"$state"; then
		complain "$state cannot be written, so nothing is changed: it could not be undone"
		exit 1
	fi
	knobs apply_one
	[ -s "$state" ] || rm -f "$state"
	[ "$status" -ne 0 ] || say 'All that can be set here is as wanted.'
}

# ---- --persist ----

persist_one() { # CLASS NAME WANTED
	case $2 in MemAvailable | RLIMIT_NOFILE) return 0 ;; esac
	value=$(now "$2") && set=$(merge "$value" "$3") || return 0
	# Values that are sufficient by default are not written, because the kernel's own choice may grow with the memory.
	[ "$set" != "$value" ] || noted "$2" || { [ -f "$drop_in" ] && grep -q "^-*$2 = " "$drop_in"; } || return 0
	case $2 in
	transparent_hugepage) complain "$2: no sysctl: put transparent_hugepage=$set on the kernel's command line" ;;
	net.netfilter.*) say "-$2 = $set" ;; # - : its module may not be loaded yet
	*) say "$2 = $set" ;;
	esac
}

drop_in_text() {
	say "$mark: $0 --sockets $sockets --persist"
	say "# tune.sh --revert removes it. RLIMIT_NOFILE is no sysctl: LimitNOFILE=$limit in the edge's unit."
	knobs persist_one
}

persist() {
	if [ -f "$drop_in" ] && ! grep -q "^$mark" "$drop_in"; then
		complain "$drop_in is not by this script: move it away, or name another one with --drop-in"
		exit 1
	fi
	limit=$((sockets + 4096))
	if ! mkdir -p "$(dirname "$drop_in")" || ! drop_in_text >"$drop_in.new" || ! mv "$drop_in.new" "$drop_in"; then
		complain "$drop_in cannot be written"
		exit 1
	fi
	say "$drop_in is written, for the next boots; --apply sets the same now:"
	grep -v '^#' "$drop_in"
	limit_hint "$limit"
}

# ---- --revert ----

revert() {
	if [ -f "$state" ]; then
		while read -r name value; do
			before=$(now "$name")
			[ "$before" != "$value" ] || { forget "$name"; continue; }
			say "$name: $before -> $value"
			if set_value "$name" "$value"; then forget "$name"; else failed "$name: cannot be set back: $reason"; fi
		done <<-END
			$(cat "$state")
		END
		[ -s "$state" ] || rm -f "$state"
	else
		say "$state is not there: no knob was changed."
	fi
	if [ -f "$drop_in" ]; then
		if ! grep -q "^$mark" "$drop_in"; then
			failed "$drop_in is not by this script, and stays"
		elif rm -f "$drop_in"; then
			say "$drop_in is removed."
		else
			failed "$drop_in cannot be removed"
		fi
	fi
}

status=0
options "$@"
case $mode in
check) check || status=1 ;;
apply) apply ;;
persist) persist ;;
revert) revert ;;
esac
exit $status
