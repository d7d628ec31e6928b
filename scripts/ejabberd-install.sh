#!/bin/sh
# Installs mod_megaphone into Debian's ejabberd, or removes it. Run as root; a second run changes nothing. It is
# scripts/ejabberd-install.sh in a checkout, and megaphone-ejabberd-install in the packages.
#
#   megaphone-ejabberd-install                  compile and install the module, and configure its listener
#   megaphone-ejabberd-install --sessions N     the same, and set ejabberd up for N sessions on this node
#   megaphone-ejabberd-install --uninstall      remove it; its configuration stays as mod_megaphone.yml.removed
#
# OPTIONS
#   --sessions N         what N sessions need, written as 1000000, 1_000_000, 1000k or 1M; see below
#   --ip ADDRESS         where the links of edges are taken  [127.0.0.1]   a private network, or with --certfile
#   --port PORT                                              [5279]
#   --secret-file FILE   its first line is the listener's secret, which edges must prove; written if there is no such
#                        file. Without it the secret is in the listener's configuration only
#   --certfile FILE      links have TLS by the certificate, chain and key in FILE (PEM), which ejabberd's user can read
#   --root DIR           install below DIR instead of / (for images and tests)
#   --help               this text
#
# WHAT --sessions WRITES
#   /etc/ejabberd/ejabberdctl.cfg: Erlang's process limit, carriers of memory that empty again after log-ins, and
#   schedulers that sleep instead of spinning. /etc/ejabberd/modules.d/mod_megaphone.yml: the listener's engine and
#   max_held, the module's sleep_after and max_awake, and loglevel where ejabberd.yml has none. Each line has its
#   reason above it. All of it is in blocks between marks. The next run with --sessions writes them anew, one without
#   leaves them alone, --uninstall removes them.
#
#   Your own settings outside the blocks stay. If one is too low for N, or is in ejabberd.yml, which this script never
#   edits, standard error names the line to change. Restart ejabberd, then `ejabberdctl megaphone_doctor N` checks the
#   running node.
#
#   Nothing is written for systemd: sessions have no sockets in ejabberd, so LimitNOFILE of ejabberd.service is enough
#   for every N. The kernel's settings are those of the edge's host: megaphone-tune --sockets N.
#
# FILES
#   /var/lib/ejabberd/.ejabberd-modules/mod_megaphone/   the module, where `ejabberdctl modules_installed` finds it
#   /etc/ejabberd/modules.d/mod_megaphone.yml            its listener; only the blocks of --sessions are ever rewritten
#   /etc/ejabberd/ejabberdctl.cfg                        with --sessions, a block at its end
#
# EXIT STATUS
#   0  done, or nothing to do
#   1  it could not be done, and standard error has the reason
#   2  an option is wrong
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$0")
source=$here/../ejabberd/mod_megaphone
[ -d "$source" ] || source=$here/../share/megaphone/ejabberd/mod_megaphone
ip=127.0.0.1 port=5279 root='' uninstall='' secret_file='' sessions='' certfile=''

fail() {
	echo "$name: $*" >&2
	exit 1
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }

wrong() {
	printf "%s: %s\nTry %s --help\n" "$name" "$*" "$name" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--uninstall) uninstall=yes ;;
	--ip | --port | --root | --secret-file | --sessions | --certfile)
		[ $# -ge 2 ] || wrong "$1: its value is missing"
		case $1 in
		--ip) ip=$2 ;;
		--port) port=$2 ;;
		--root) root=$2 ;;
		--secret-file) secret_file=$2 ;;
		--certfile) certfile=$2 ;;
		--sessions)
			[ -n "$2" ] || wrong "$1: its value is missing"
			sessions=$2
			;;
		esac
		shift
		;;
	--help)
		usage
		exit
		;;
	*) wrong "$1: there is no such option" ;;
	esac
	shift
done

# plain N: $number is N in digits only: 1000000 for 1_000_000, 1,000,000 and 1M. False: it is no such number.
plain() {
	number=$1 zeros=''
	case $number in
	*[kK]) number=${number%?} zeros=000 ;;
	*M) number=${number%M} zeros=000000 ;;
	esac
	# Groups of three digits, or none.
	case $number in
	*[_,]*) echo "$number" | grep -Eqx '[0-9]{1,3}([_,][0-9]{3})+' || return 1 ;;
	esac
	number=$(echo "$number" | tr -d _,)
	case $number in
	*[!0-9.]* | *.*.* | .* | *. | '') return 1 ;;
	*.*) # 1.5M: as many digits behind the point as the unit has zeros
		fraction=${number#*.}
		while [ ${#fraction} -lt ${#zeros} ]; do fraction=${fraction}0; done
		[ ${#fraction} -eq ${#zeros} ] || return 1
		number=${number%%.*}$fraction
		;;
	*) number=$number$zeros ;;
	esac
	number=$(echo "$number" | sed 's/^0*//')
	[ -n "$number" ] && [ ${#number} -le 12 ]
}

# Both are words of a configuration file.
case $ip in '' | *[!0-9A-Fa-f.:]*) fail "--ip: $ip: give an IP address, for example 10.0.0.2" ;; esac
case $port in '' | *[!0-9]* | ??????*) fail "--port: $port: give a number from 1 to 65535" ;; esac
if [ -n "$sessions" ]; then
	[ -z "$uninstall" ] || wrong "--sessions: not with --uninstall, which takes back what was written for them"
	if ! plain "$sessions" || [ "$number" -gt 30000000 ]; then
		wrong "--sessions: $sessions: give the sessions of this node, 1 to 30000000, for example 1000000 or 1M"
	fi
	sessions=$number
fi

modules=$root/var/lib/ejabberd/.ejabberd-modules
dest=$modules/mod_megaphone
config=$root/etc/ejabberd/modules.d/mod_megaphone.yml
ctl_config=$root/etc/ejabberd/ejabberdctl.cfg
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "this takes root: run it with sudo"

# owned OWNER FILE: ejabberd's user reads them, where there is one.
owned() {
	if [ "$(id -u)" -eq 0 ] && id ejabberd >/dev/null 2>&1; then chown -R "$1" "$2"; fi
}

# ---- Blocks between marks, in files that are the operator's otherwise ----

begin_mark='# megaphone-ejabberd-install: begin'
end_mark='# megaphone-ejabberd-install: end'
# What a begin mark says of what the block has changed around itself.
replaces=', in place of:'
adds_newline=', after a newline of its own'
makes_file=', in a file of its own'

# without_blocks FILE: its text as it was before the blocks were written.
without_blocks() {
	grep -qF "$begin_mark" "$1" || { cat "$1"; return; }
	awk -v begin="$begin_mark" -v end="$end_mark" -v replaces="$replaces" -v adds="$adds_newline" '
		function put(line) { if (held) printf "%s\n", last; last = line; held = 1; open = 0 }
		inside { if (index($0, end)) inside = 0; next }
		index($0, begin) {
			inside = 1
			at = index($0, replaces)
			if (at) put(substr($0, at + length(replaces)))
			else if (index($0, adds)) open = 1
			next
		}
		{ put($0) }
		END { if (held) printf "%s%s", last, open ? "" : "\n" }
	' "$1"
}

# check_blocks FILE: every block has both of its marks. Otherwise no line could be told for whose it is.
check_blocks() {
	awk -v begin="$begin_mark" -v end="$end_mark" '
		index($0, begin) { if (inside) exit 1; inside = 1; next }
		index($0, end) { if (!inside) exit 1; inside = 0 }
		END { exit inside }
	' "$1" || fail "$1: a line \"$begin_mark\" or \"$end_mark\" is missing: remove the rest of that block by hand"
}

# real FILE: the file that a symbolic link leads to, and Debian's ejabberdctl.cfg is one. Never out of --root.
real() {
	path=$(readlink -f "$1") || fail "$1: its directory is missing: is ejabberd installed?"
	[ -z "$root" ] || case $path in
	"$(readlink -f "$root")"/*) ;;
	*) fail "$1 is a symbolic link to $path, outside of $root: use a relative one" ;;
	esac
	echo "$path"
}

# replace FILE: with standard input, in one step, keeping mode and owner. It reports whether anything has changed. Its
# errors are checked one by one, because in a condition set -e is off.
replace() {
	target=$(real "$1") || exit 1
	new=$target.megaphone-new
	if ! { { [ ! -e "$target" ] || cp -p "$target" "$new"; } && cat >"$new"; }; then
		rm -f "$new"
		fail "$new cannot be written: $1 stays as it is"
	fi
	if cmp -s "$new" "$target"; then
		rm "$new"
		return 1
	fi
	mv "$new" "$target"
}

# ours_alone FILE: this script has made it, and there is nothing else in it.
ours_alone() { grep -qF "$begin_mark" "$1" && grep -qF "$makes_file" "$1" && [ -z "$(without_blocks "$1")" ]; }

# restore FILE: takes its blocks back.
restore() {
	[ -e "$1" ] && grep -qF "$begin_mark" "$1" || return 0
	check_blocks "$1"
	if ours_alone "$1"; then
		rm "$(real "$1")"
	else
		without_blocks "$1" | replace "$1"
	fi
	echo "restored: $1"
}

if [ -n "$uninstall" ]; then
	if [ ! -e "$dest" ] && [ ! -e "$config" ] && ! grep -qsF "$begin_mark" "$ctl_config"; then
		echo "mod_megaphone is not installed: nothing to do"
		exit 0
	fi
	restore "$ctl_config"
	rm -rf "$dest"
	[ ! -e "$config" ] || mv "$config" "$config.removed"
	echo "mod_megaphone is removed. Restart ejabberd: systemctl restart ejabberd"
	exit 0
fi

# What would keep us from writing is found before anything is changed.
for file in "$ctl_config" "$config"; do
	if [ -n "$sessions" ] && [ -e "$file" ]; then
		real "$file" >/dev/null
		check_blocks "$file"
	fi
done

[ -d "$source" ] || fail "$source is missing: the module belongs beside this script, as in a checkout or in the packages"
command -v erlc >/dev/null || fail "erlc is missing: apt-get install ejabberd erlang-base"
for ebin in /usr/lib/*/ejabberd-*/ebin; do :; done # the last one
[ -d "$ebin" ] || fail "Debian's ejabberd is missing: apt-get install ejabberd (for any other see $source/README.txt)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/ebin"
# Deterministic: the second time it is the same, byte for byte, wherever it was compiled.
erlc +deterministic -I "$(dirname "$ebin")/include" -pa "$ebin" -o "$work/ebin" "$source"/src/*.erl ||
	fail "mod_megaphone does not compile"
cp "$source/mod_megaphone.spec" "$source/README.txt" "$source/COPYING" "$work/"

changed=''
if ! diff -rq "$work" "$dest" >/dev/null 2>&1; then
	if [ ! -d "$modules" ]; then
		mkdir -p "$modules"
		owned ejabberd:ejabberd "$modules"
	fi
	rm -rf "$dest.new"
	cp -R "$work" "$dest.new"
	chmod 755 "$dest.new"
	rm -rf "$dest"
	mv "$dest.new" "$dest"
	owned ejabberd:ejabberd "$dest"
	echo "installed: $dest"
	changed=yes
fi

# first_line FILE: as edges read their secret: without a byte order mark, and the white space around it.
first_line() {
	case $(head -c 2 "$1" | od -An -tx1 | tr -d ' ') in
	fffe | feff) fail "$1: the file is UTF-16: save it as UTF-8" ;;
	esac
	head -n 1 "$1" | sed "s/^$(printf '\357\273\277')//; s/^[[:space:]]*//; s/[[:space:]]*\$//"
}

# configured is the secret of the listener, as it is now.
configured() { sed -n 's/^ *secret: "\(.*\)"$/\1/p' "$config" | head -n 1; }

case $certfile in *[!A-Za-z0-9+/=_.-]*) fail "--certfile $certfile: use letters, digits and +/=_.- only" ;; esac
if [ -n "$certfile" ] && [ ! -e "$config" ]; then
	case $certfile in /*) ;; *) fail "--certfile $certfile: give an absolute path" ;; esac
	for part in CERTIFICATE 'PRIVATE KEY'; do
		grep -qs -e "^-----BEGIN .*$part-----" "$certfile" ||
			fail "--certfile $certfile: it has no $part: cat fullchain.pem privkey.pem >$certfile"
	done
elif [ -n "$certfile" ] && ! grep -qF "certfile: \"$certfile\"" "$config"; then
	fail "$config is never overwritten: put   tls: true   and   certfile: \"$certfile\"   into its listener"
fi
if [ ! -e "$config" ]; then
	mkdir -p "$(dirname "$config")"
	if [ -n "$secret_file" ] && [ -e "$secret_file" ]; then
		secret=$(first_line "$secret_file")
		case $secret in *[!A-Za-z0-9+/=_.-]*) fail "$secret_file: use letters, digits and +/=_.- only" ;; esac
		[ ${#secret} -ge 16 ] || fail "$secret_file: its first line must be a secret of 16 characters or more"
	else
		secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	fi
	(
		umask 077
		cat >"$config.megaphone-new" <<END
# Links of Megaphone edges. An edge needs the secret in a file: megaphone edge --origin a=$ip:$port --secret-file FILE
listen:
  -
    port: $port
    ip: "$ip"
    module: mod_megaphone
    secret: "$secret"${certfile:+
    tls: true
    certfile: \"$certfile\"}

modules:
  mod_megaphone: {}
END
	)
	mv "$config.megaphone-new" "$config" # whole or not at all: the next run leaves it alone
	owned root:ejabberd "$config"
	chmod 640 "$config"
	echo "configured: $config"
	changed=yes
fi
if [ -n "$secret_file" ] && [ ! -e "$secret_file" ]; then
	secret=$(configured)
	[ -n "$secret" ] || fail "$config has no secret: put a line into it, such as   secret: \"16 characters or more\""
	(umask 077 && echo "$secret" >"$secret_file")
	echo "the secret for edges: $secret_file"
	changed=yes
elif [ -n "$secret_file" ] && [ "$(first_line "$secret_file")" != "$(configured)" ]; then
	fail "$secret_file is not the secret of $config, which is never overwritten: change one of them"
fi

# ---- --sessions ----

# remark TEXT: tells the operator of a change that this script leaves to them.
remark() { echo "$name: $*" >&2; }

# own FILE: its lines that are in force and not this script's.
own() {
	[ ! -e "$1" ] || without_blocks "$1" | sed 's/^[[:space:]]*#.*//'
}

# setting NAME: what the operator's ejabberdctl.cfg sets NAME to, if it does.
setting() {
	own "$ctl_config" | sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1=[\"']\{0,1\}\([^\"'[:space:]]*\).*/\2/p" |
		tail -n 1
}

# flag NAME: the value that the operator's ejabberdctl.cfg or vm.args gives Erlang's flag NAME, if one of them does.
flag() {
	{ own "$ctl_config"; own "$root/etc/ejabberd/vm.args"; } | tr "\"'" '  ' |
		awk -v flag="$1" '{ for (i = 1; i <= NF; i++) if ($i == flag) value = $(i + 1) } END { print value }'
}

# wants_flags REASON FLAG VALUE [FLAG VALUE...]: one line of the block, without the flags that the operator has.
wants_flags() {
	reason=$1 line=''
	shift
	while [ $# -gt 0 ]; do
		is=$(flag "$1")
		if [ -z "$is" ]; then
			line="$line $1 $2"
		elif [ "$is" != "$2" ]; then
			remark "$1 $is of your ejabberdctl.cfg or vm.args stays; $1 $2 would be better here: $reason"
		fi
		shift 2
	done
	# shellcheck disable=SC2016 # the shell that reads ejabberdctl.cfg is to expand it
	[ -z "$line" ] || printf '# %s\nERL_OPTIONS="$ERL_OPTIONS%s"\n' "$reason" "$line"
}

# ctl_block: the lines of ejabberdctl.cfg.
ctl_block() {
	is=$(setting ERL_PROCESSES)
	[ -n "$is" ] || is=$(flag +P)
	case $is in
	'')
		if [ "$processes" -gt 250000 ]; then
			echo "# $per_session for each session, and half of the sessions more: those that end while others log in."
			echo "ERL_PROCESSES=$processes"
		fi
		;;
	*[!0-9]*) remark "ERL_PROCESSES: $is stays; the number must be $processes or more" ;;
	*)
		[ "$is" -ge "$processes" ] ||
			remark "ERL_PROCESSES: $is stays, because you have set it; $sessions sessions need $processes: change your line"
		;;
	esac
	wants_flags "Heaps in small carriers, filled from the lowest address up: those that log-ins take can be given back." \
		+MHas aoffcaobf +MHsmbcs 256 +MHlmbcs 512
	wants_flags "The same for binaries, which packed sessions are." \
		+MBas aoffcaobf +MBsmbcs 256 +MBlmbcs 512
	wants_flags "Schedulers without work sleep at once: polls come often, and to spin until the next costs more." \
		+sbwt none +sbwtdcpu none +sbwtdio none
	is=$(setting ERL_MAX_PORTS)
	case $is in
	'' | *[!0-9]*) ;;
	*)
		[ "$is" -ge 8192 ] ||
			remark "ERL_MAX_PORTS: $is stays, because you have set it; it should be 8192 or more: a port for each link"
		;;
	esac
	echo "# ERL_MAX_PORTS is enough as it is: a link of an edge takes a port, a session none."
}

# write_ctl: the block goes to the end of the file.
write_ctl() {
	text=$(ctl_block) # its remarks come before the file
	note=''
	if [ ! -e "$ctl_config" ] || ours_alone "$ctl_config"; then
		note=$makes_file
	elif [ -n "$(without_blocks "$ctl_config" | tail -c 1)" ]; then
		note=$adds_newline
	fi
	{
		[ ! -e "$ctl_config" ] || without_blocks "$ctl_config"
		[ "$note" != "$adds_newline" ] || echo
		echo "$begin_mark --sessions $sessions$note"
		printf '%s\n' "$text" "$end_mark"
	} >"$work/ctl"
	mkdir -p "$(dirname "$ctl_config")"
	replace "$ctl_config" <"$work/ctl" || return 0
	[ "$note" != "$makes_file" ] || chmod 644 "$ctl_config"
	said "$ctl_config"
}

# said FILE: shows its blocks.
said() {
	echo "configured for $sessions sessions: $1"
	sed -n "/$begin_mark/,/$end_mark/{/megaphone-ejabberd-install/d;s/^/  /;p;}" "$1"
	changed=yes
}

# write_yaml: options go below the lines `module: mod_megaphone` and `mod_megaphone:` of the drop-in. An option that is
# there already stays.
write_yaml() {
	without_blocks "$config" >"$work/before"
	awk -v begin="$begin_mark --sessions $sessions" -v end="$end_mark" -v replaces="$replaces" \
		-v held="$held" -v max_awake="$max_awake" -v loglevel="$loglevel" -v remarks="$work/remarks" '
		function indent(line) { match(line, /^[ -]*/); return RLENGTH }
		function key(line) { sub(/^[ -]*/, "", line); return match(line, /^[a-z_]+:/) ? substr(line, 1, RLENGTH - 1) : "" }
		function blank(line) { return line ~ /^ *(#.*)?$/ }
		# has(at, depth, name): the line of a key in the mapping that line at is part of, its keys at that depth; or 0.
		function has(at, depth, name,   i) {
			for (i = at; i > 0 && (blank(lines[i]) || indent(lines[i]) >= depth); i--) {
				if (indent(lines[i]) == depth && key(lines[i]) == name) return i
				if (indent(lines[i]) == depth && lines[i] ~ /^ *-/) break # the first line of the item
			}
			for (i = at + 1; i <= n && (blank(lines[i]) || indent(lines[i]) >= depth); i++) {
				if (indent(lines[i]) == depth && lines[i] ~ /^ *-/) break # the next item
				if (indent(lines[i]) == depth && key(lines[i]) == name) return i
			}
			return 0
		}
		function option(depth, reason, text) {
			block = block sprintf("%*s# %s\n%*s%s\n", depth, "", reason, depth, "", text)
		}
		function put(depth, note) {
			if (block != "") printf "%*s%s%s\n%s%*s%s\n", depth, "", begin, note, block, depth, "", end
			block = ""
		}
		function value(line) { sub(/^[^:]*: */, "", line); sub(/ *(#.*)?$/, "", line); return line }
		# stays(line, better): an option of the operator that does not do.
		function stays(line, better) { print key(line) ": " value(line) " stays; " better >remarks }
		function listener(i,   depth, mine) {
			depth = indent(lines[i])
			if (!has(i, depth, "engine"))
				option(depth, "A session is a row here, with one Erlang process instead of three.", "engine: megaphone")
			mine = has(i, depth, "max_held")
			if (!mine && held > 250000) # the default
				option(depth, "One link may hold the requests of all sessions, and a quarter more of clients that have gone.",
					"max_held: " held)
			if (mine && value(lines[mine]) + 0 < held)
				stays(lines[mine], "one link may have to hold the requests of all sessions: make it " held)
			put(depth, "")
		}
		function module(i,   depth, rest, at, first, mine) {
			depth = indent(lines[i])
			rest = lines[i]
			sub(/^ *mod_megaphone: */, "", rest)
			sub(/ *#.*$/, "", rest)
			found = 1
			if (rest != "" && rest !~ /^\{ *\}$/) {
				print lines[i]
				print "mod_megaphone: " rest " stays; for the sessions add sleep_after: 2 seconds, max_awake: " max_awake \
					" where they are missing" >remarks
				return
			}
			at = depth + 2
			for (first = i + 1; first < n && blank(lines[first]); first++);
			if (rest == "" && first <= n && indent(lines[first]) > depth) at = indent(lines[first])
			mine = rest == "" ? has(i + 1, at, "sleep_after") : 0
			if (mine && value(lines[mine]) == "infinity") stays(lines[mine], "a session that sleeps takes a quarter of the memory")
			if (!mine)
				option(at, "An idle session sleeps packed, in a quarter of the memory.", "sleep_after: 2 seconds")
			if (rest != "" || !has(i + 1, at, "max_awake"))
				option(at, "More would wait for their turn to wake: a broadcast takes no more memory than these.",
					"max_awake: " max_awake)
			if (rest == "") {
				print lines[i]
				put(at, "")
			} else {
				block = sprintf("%*smod_megaphone:\n", depth, "") block
				put(depth, replaces lines[i])
			}
		}
		{ lines[++n] = $0 }
		END {
			for (i = 1; i <= n; i++) {
				if (lines[i] ~ /^ *mod_megaphone:/) module(i)
				else print lines[i]
				if (lines[i] ~ /^ *(- *)?module: *"?mod_megaphone"? *(#.*)?$/) { listener(i); listens = 1 }
			}
			if (!listens) print "no listener has module: mod_megaphone; give yours   engine: megaphone" >remarks
			if (!found) print "no modules: mod_megaphone; give yours   sleep_after: 2 seconds" >remarks
			if (loglevel) {
				option(0, "At info ejabberd writes three lines for each session.", "loglevel: warning")
				put(0, "")
			}
		}
	' "$work/before" >"$work/after"
	[ ! -s "$work/remarks" ] || while IFS= read -r line; do remark "$config: $line"; done <"$work/remarks"
	if replace "$config" <"$work/after"; then said "$config"; fi
}

# main_config: ejabberd's own configuration file, which is looked at and never edited.
main_config() {
	path=$(setting EJABBERD_CONFIG_PATH)
	echo "$root${path:-/etc/ejabberd/ejabberd.yml}"
}

# look_at_yaml: $loglevel is yes if the drop-in may have one. Twice would keep ejabberd from starting.
look_at_yaml() {
	loglevel=''
	yaml=$(main_config)
	[ -r "$yaml" ] || { remark "$yaml is not there: loglevel should be warning in it"; return; }
	key="[\"']\{0,1\}loglevel[\"']\{0,1\} *:"
	level=$(sed -n "s/^ *$key *[\"']\{0,1\}\([A-Za-z0-9]*\).*/\1/p" "$yaml" | tail -n 1)
	case $level in
	'')
		loglevel=yes
		for file in "$yaml" "$(dirname "$config")"/*.y*ml; do
			# It may be in a file that is included, too.
			! own "$file" | grep -q -e "^ *$key" -e '^ *include_config_file' || loglevel=''
		done
		;;
	none | emergency | alert | critical | error | warning | 0 | 1 | 2 | 3 | [A-Z]*) ;; # or a macro
	*) remark "$yaml: loglevel: $level is three lines for each session: make it   loglevel: warning" ;;
	esac
	if grep -Eq '^[^#]*send_pings: *(true|yes|on)' "$yaml"; then
		remark "$yaml: send_pings wakes every session every minute: take it away, a client of BOSH is known by its polls"
	fi
}

# numbers: those for the engine that the listener will have.
numbers() {
	if own "$config" | grep -Eq '^ *(- *)?engine: *"?ejabberd"? *(#.*)?$'; then
		per_session='Three Erlang processes' processes=$((3 * sessions + sessions / 2))
		remark "$config: engine: ejabberd stays; engine: megaphone takes a third of the processes"
	else
		per_session='One Erlang process' processes=$((sessions + sessions / 2))
	fi
	held=$((sessions + sessions / 4))
	max_awake=$((sessions / 4))
	[ "$max_awake" -ge 1000 ] || max_awake=1000
	[ "$max_awake" -le 50000 ] || max_awake=50000
}

if [ -n "$sessions" ]; then
	numbers
	write_ctl
	look_at_yaml
	write_yaml
fi

if [ -z "$changed" ]; then
	echo "mod_megaphone is installed and up to date: nothing to do"
	exit 0
fi
cat <<END

Next:
  1. ejabberd.yml must have mod_bosh among its modules, and mod_stream_mgmt, by which clients over WebSocket resume.
  2. systemctl restart ejabberd
  3. On the edge: put ${secret_file:-the secret of $config} into a file that the edge can read, and
     megaphone edge --listen 0.0.0.0:5280 --origin a=$ip:$port --secret-file FILE
  4. ejabberdctl megaphone_links shows a line for each reactor of the edge.
END
[ -z "$sessions" ] || cat <<END
  5. ejabberdctl megaphone_doctor $sessions checks the node; megaphone-tune --sockets $sessions --check the edge's host.
END
