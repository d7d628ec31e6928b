#!/usr/bin/env bash
# A private ejabberd in a directory of its own: configuration, database, log, cookie, node name, ports and epmd. Any
# number of them run at once, by any user, and none touches the system's ejabberd.
#
#   scripts/ejabberd.sh start DIR [option...]   start it, wait until it serves, and print how to reach it:
#                                                   bosh http://127.0.0.1:PORT/bosh   its own mod_bosh
#                                                   websocket ws://127.0.0.1:PORT/ws  its own ejabberd_http_ws
#                                                   link 127.0.0.1:PORT               mod_megaphone's listener, where it is
#                                                   node NAME
#                                                   pid N
#   scripts/ejabberd.sh ctl DIR COMMAND...      what `ejabberdctl COMMAND...` prints, and its exit status
#   scripts/ejabberd.sh eval DIR EXPRESSIONS    the value of Erlang expressions, evaluated in the node
#   scripts/ejabberd.sh stop DIR                end it as an operator would; by force where it does not end
#   scripts/ejabberd.sh kill DIR                end it at once (SIGKILL)
#
# Options of start:
#   --bosh-port N, --link-port N   instead of free ports
#   --node NAME                    instead of ejabberd@localhost; give the nodes of one cluster different ones
#   --secret TEXT                  shared with edges; none without it
#   --certfile FILE                links have TLS by the certificate and key in FILE
#   --join DIR2                    become a node of the cluster of the one that runs in DIR2
#   --max-inactivity S             seconds without a request after which a BOSH session ends (default 30)
#   --module-options YAML          mod_megaphone's options, for example '{sleep_after: 1 second}'
#   --websocket true|false         whether mod_megaphone's listeners take WebSocket (default true)
#   --modules YAML                 further modules with their options, one a line: mod_last: {}
#   --loglevel WORD                (default info)
#   --passwords plain|scram        how they are stored (default plain)
#   --owner PID                    stop when that process has ended, however it ended
#   --patience S                   how long the start may take (default 90)
#
# It also listens for plain XMPP clients, as every ejabberd does: the limit of 262,144 bytes for stanzas that Debian's
# configuration has there is BOSH's too.
#
# The domains: localhost (accounts: ctl DIR register NAME localhost PASSWORD), anon.localhost (SASL ANONYMOUS only) and
# demo.localhost (any name with any password, and everyone online is in everyone's roster).
# DIR/ejabberd.yml is written by the first start and left alone by later ones, ports and options of the first included.
# MEGAPHONE_MODULE names another directory than ejabberd/mod_megaphone; where it is empty, there is no such module.
# EJABBERD_EBIN names another ejabberd's ebin directory than that of Debian's package; ERL_FLAGS are erl's own.
# EJABBERD_ROOT names a directory with the ejabberd and the Erlang of another Debian release; see scripts/ejabberd-root.sh.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/ports.sh
. "$here/ports.sh"
# shellcheck source=scripts/root.sh
. "$here/root.sh"
module=${MEGAPHONE_MODULE-$here/../ejabberd/mod_megaphone}

fail() {
	printf 'ejabberd.sh: %s\n' "$*" >&2
	exit 1
}

usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 2
}

# ---- Installed here ---------------------------------------------------------------------------------------------

find_ejabberd() {
	ebin=${EJABBERD_EBIN:-}
	[ -n "$ebin" ] || ebin=$(dirname "$(ls /usr/lib/*/ejabberd-*/ebin/ejabberd.app 2>/dev/null | tail -n 1)")
	[ -f "$ebin/ejabberd.app" ] || fail "ejabberd is missing: run make setup-test"
	for program in erl erl_call epmd; do
		command -v "$program" >/dev/null || fail "$program is missing: run make setup-test"
	done
	libs=$(dirname "$(dirname "$ebin")")
}

# state NAME: what the start has noted in DIR/NAME.
state() { cat "$dir/$1" 2>/dev/null || true; }

# Reports whether process PID is this directory's and not one that got its number later.
ours() {
	[ -n "$1" ] && tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF -e "\"$dir/mnesia\""
}

running() { ours "$(state pid)"; }

# alive PID: it has not ended. What waits for init to take note of its end has.
alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# ended PID SECONDS: waits for the end of a process.
ended() {
	local end=$((SECONDS + $2))
	while alive "$1"; do
		[ "$SECONDS" -lt "$end" ] || return
		sleep 0.05
	done
}

# ---- epmd: one a cluster, on the loopback interface -------------------------------------------------------------

# DIR/epmd has its port and its pid; in the directories of further nodes of a cluster it is a link to the first one's.
epmd_names() {
	ERL_EPMD_PORT=$(state epmd/port) epmd -names 2>/dev/null
}

start_epmd() {
	mkdir -p "$dir/epmd"
	epmd_names >/dev/null && return
	local port pid
	for _ in $(seq 10); do
		port=$(state epmd/port)
		port=${port:-$(free_port)}
		# epmd has no name for us to know it by: the working directory is it. See stop_epmd.
		(cd "$(readlink -f "$dir/epmd")" &&
			exec setsid epmd -port "$port" -address 127.0.0.1 </dev/null >log 2>&1) &
		pid=$!
		disown
		echo "$port" >"$dir/epmd/port"
		echo "$pid" >"$dir/epmd/pid"
		for _ in $(seq 100); do
			epmd_names >/dev/null && alive "$pid" && return
			alive "$pid" || break
			sleep 0.05
		done
		rm -f "$dir/epmd/port"
	done
	fail "epmd does not start: $(state epmd/log)"
}

# The last node ends it.
stop_epmd() {
	local pid
	pid=$(state epmd/pid)
	[ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(readlink -f "$dir/epmd")" ] || return 0
	# It may take a moment before it knows that our node is gone.
	local name end=$((SECONDS + 10))
	name=$(state node)
	while epmd_names | grep -q "^name ${name%@*} at " && [ "$SECONDS" -lt "$end" ]; do sleep 0.05; done
	if ! epmd_names | grep -q '^name '; then
		kill "$pid"
		ended "$pid" 10 || kill -9 "$pid"
	fi
}

# ---- The node ---------------------------------------------------------------------------------------------------

# call EXPRESSIONS: has the node evaluate them; what they write is written to standard output.
call() {
	printf '%s\n' "$1" | HOME=$dir ERL_EPMD_PORT=$(state epmd/port) timeout "$call_seconds" \
		erl_call -sname "$(state node)" -r -timeout "$call_seconds" -e -fetch_stdout -no_result_term
}
call_seconds=60

# text STRING: an Erlang expression for it that no character in it can break.
text() { printf 'unicode:characters_to_list(base64:decode("%s"))' "$(printf %s "$1" | base64 -w 0)"; }

# guarded EXPRESSIONS: calls them; their last value, or the error, is written after a mark and becomes our exit status.
guarded() {
	local out errors
	running || fail "no ejabberd runs in $dir"
	errors=$(mktemp)
	for _ in 1 2 3; do # on a busy machine the node may not answer the knock in time
		out=$(call "$1" 2>"$errors"; echo .) || true
		out=${out%.}
		grep -qs 'failed to connect' "$errors" || break
		sleep 1
	done
	cat "$errors" >&2
	rm -f "$errors"
	case $out in
	*"
exit:"*) ;;
	exit:*) out=$'\n'$out ;;
	*) fail "ejabberd in $dir does not answer: $out" ;;
	esac
	local status=${out##*$'\n'exit:}
	out=${out%$'\n'exit:*}
	out=${out#$'\n'}
	[ -z "$out" ] || printf '%s\n' "${out%$'\n'}"
	return "${status%%[!0-9]*}"
}

ctl() {
	local list='' arg
	for arg in "$@"; do list="$list${list:+,}$(text "$arg")"; done
	guarded "S = case ejabberd_ctl:process([$list]) of {_, N} -> N; N -> N end, io:format(\"~nexit:~b~n\", [S])."
}

evaluate() {
	guarded "T = $(text "$1."),
		try {ok, K, _} = erl_scan:string(T), {ok, X} = erl_parse:parse_exprs(K),
			{value, V, _} = erl_eval:exprs(X, erl_eval:new_bindings()), io:format(\"~0tp~nexit:0~n\", [V])
		catch C:R -> io:format(\"~0tp~nexit:1~n\", [{C, R}]) end."
}

ports() { sed -n 's/^ *port: \([0-9]*\)$/\1/p' "$dir/ejabberd.yml"; }

# Every port that it was told to listen on is its own, not another process's. It is asked only when all are open: a call
# that comes too early in its life is never answered.
listens() {
	local want port
	for port in $(ports); do ! free "$port" || return; done
	want=$(ports | paste -sd,)
	[ "$(evaluate "[P || P <- [$want], not lists:any(fun(S) -> prim_inet:sockname(S) =:= {ok, {{127,0,0,1}, P}}
		andalso inet:peername(S) =:= {error, enotconn} end,
		[S || S <- erlang:ports(), {name, \"tcp_inet\"} =:= erlang:port_info(S, name)])]" 2>/dev/null)" = "[]" ]
}

ready() {
	listens && [ "$(evaluate 'lists:keymember(ejabberd, 1, application:which_applications())' 2>/dev/null)" = true ]
}

compile_module() {
	mkdir -p "$dir/ebin"
	[ -n "$module" ] || return 0
	command -v erlc >/dev/null || fail "erlc is missing: run make setup-test"
	local include=()
	local i
	for i in "$libs"/ejabberd-*/include; do include+=(-I "$i"); done
	ERL_LIBS=$libs erlc -pa "$ebin" "${include[@]}" -I "$module/include" -o "$dir/ebin" "$module"/src/*.erl ||
		fail "mod_megaphone does not compile"
}

# write_config: of ports that it may choose no two are the same.
write_config() {
	for _ in $(seq 10); do
		write_config_once
		[ -n "$(ports | sort | uniq -d)" ] || return 0
	done
}

write_config_once() {
	local without=''
	printf '%s\n' "$modules" | sed '/./s/^/  /' >"$dir/modules.yml"
	[ -n "$module" ] || without='/# with mod_megaphone/,/# end/d;'
	sed -e "$without" \
		-e "s/@bosh@/${bosh_port:-$(free_port)}/; s/@link@/${link_port:-$(free_port)}/" \
		-e "s/@engine@/$(free_port)/; s/@c2s@/$(free_port)/" \
		-e "s/@websocket@/$websocket/" \
		-e "s/@inactivity@/$inactivity/; s|@module-options@|$module_options|; s|@secret@|${secret:+secret: \"$secret\"}|" \
		-e "s|@tls@|${certfile:+tls: true\n    certfile: \"$certfile\"}|" \
		-e "s/@loglevel@/$loglevel/; s/@passwords@/$passwords/" -e "/@modules@/{r $dir/modules.yml" -e "d;}" \
		"$here/ejabberd.yml" >"$dir/ejabberd.yml"
	rm "$dir/modules.yml"
}

# launch: starts erl in the background, in a session of its own, with only its log open.
launch() {
	echo "$node" >"$dir/node"
	mkdir -p "$dir/log"
	# -kernel: distribution is for this machine. +K and +P are as in Debian's ejabberdctl.
	HOME=$dir ERL_EPMD_PORT=$(state epmd/port) ERL_EPMD_ADDRESS=127.0.0.1 ERL_LIBS=$libs \
		ERL_CRASH_DUMP=$dir/log/erl_crash.dump EJABBERD_LOG_PATH=$dir/log/ejabberd.log \
		EJABBERD_CONFIG_PATH=$dir/ejabberd.yml \
		setsid erl -noinput -sname "$node" -start_epmd false -kernel inet_dist_use_interface '{127,0,0,1}' \
		+K true +P 250000 -pa "$dir/ebin" "$ebin" -mnesia dir "\"$dir/mnesia\"" -s ejabberd \
		</dev/null >"$dir/log/erl.log" 2>&1 &
	local pid=$!
	disown
	echo "$pid" >"$dir/pid"
	until running || ! alive "$pid"; do sleep 0.02; done # it is still bash for a moment
}

# taken: a port was another program's by the time ejabberd opened it.
taken() { grep -qsiE 'eaddrinuse|address already in use' "$dir/log/"*; }

# await_ready [FRESH]: waits until it serves. With ports that it may choose anew it returns false when one is taken.
await_ready() {
	local end=$((SECONDS + patience))
	local call_seconds=5 why=''
	until ready; do
		running || alive "$(state pid)" || why='ended as it started' # while it execs, it has no command line
		[ "$SECONDS" -lt "$end" ] || why="did not start within $patience s"
		if [ -n "${1:-}" ] && taken; then
			end_node now
			return 1
		fi
		if [ -n "$why" ]; then
			tail -n 15 "$dir/log/erl.log" >&2 || true
			end_node now
			fail "ejabberd in $dir $why"
		fi
		sleep 0.1
	done
}

start() {
	local bosh_port='' link_port='' node=ejabberd@localhost secret='' certfile='' join='' inactivity=30 owner='' patience=90
	local module_options='{}' modules='' websocket=true loglevel=info passwords=plain
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage
		case $1 in
		--bosh-port) bosh_port=$2 ;;
		--link-port) link_port=$2 ;;
		--node) node=$2 ;;
		--secret) secret=$2 ;;
		--certfile) certfile=$2 ;;
		--join) join=$(readlink -f "$2") ;;
		--max-inactivity) inactivity=$2 ;;
		--module-options) module_options=$2 ;;
		--websocket) websocket=$2 ;;
		--modules) modules=$2 ;;
		--loglevel) loglevel=$2 ;;
		--passwords) passwords=$2 ;;
		--owner) owner=$2 ;;
		--patience) patience=$2 ;;
		*) usage ;;
		esac
		shift 2
	done
	running && fail "an ejabberd runs in $dir already"
	undo_start
	case $node in *@*) ;; *) node=$node@localhost ;; esac
	if [ -n "$join" ] && [ ! -e "$dir/epmd" ]; then
		ln -s "$(readlink -f "$join/epmd")" "$dir/epmd"
		cp -p "$join/.erlang.cookie" "$dir/"
	fi
	if [ ! -f "$dir/.erlang.cookie" ]; then
		(umask 077 && head -c 15 /dev/urandom | base64 | tr -d '+/=' >"$dir/.erlang.cookie")
		chmod 400 "$dir/.erlang.cookie"
	fi
	local fresh=''
	[ -f "$dir/ejabberd.yml" ] || { write_config; fresh=3; } # tries
	[ -z "$bosh_port$link_port" ] || fresh=''
	compile_module
	start_epmd
	launch
	until await_ready "$fresh"; do
		fresh=$((fresh - 1))
		[ "$fresh" -gt 0 ] || fresh='' # the last one says what is wrong
		rm -f "$dir/log/"*
		write_config
		start_epmd # it has ended with its only node
		launch
	done
	if [ -n "$join" ] && [ ! -f "$dir/joined" ]; then
		ctl join_cluster "$(cat "$join/node")" >&2
		# Newer ejabberds join once they have answered: they stop for it and start again.
		timeout "$patience" bash -c \
			'until "$0" ctl "$1" list_cluster 2>/dev/null | grep -qxF "$2"; do sleep 0.1; done' \
			"$here/ejabberd.sh" "$dir" "$(cat "$join/node")" || fail "ejabberd in $dir does not join that of $join"
		touch "$dir/joined"
		await_ready
	fi
	if [ ! -f "$dir/demo" ] && [ -z "$join" ]; then
		ctl srg_create everyone demo.localhost Everyone 'who is here' everyone >/dev/null
		ctl srg_user_add @online@ demo.localhost everyone demo.localhost >/dev/null
		touch "$dir/demo"
	fi
	[ -z "$owner" ] || watch_owner "$owner"
	local port
	port=$(sed -n '/module: ejabberd_http/q;s/^ *port: //p' "$dir/ejabberd.yml" | tail -n 1)
	echo "bosh http://127.0.0.1:$port/bosh"
	echo "websocket ws://127.0.0.1:$port/ws"
	port=$(sed -n '/^ *port: /{N;N;/module: mod_megaphone/s/^ *port: \([0-9]*\).*/\1/p}' "$dir/ejabberd.yml" | head -n 1)
	[ -z "$port" ] || echo "link 127.0.0.1:$port"
	port=$(sed -n '/^ *port: /{N;N;N;/engine: megaphone/s/^ *port: \([0-9]*\).*/\1/p}' "$dir/ejabberd.yml")
	[ -z "$port" ] || echo "engine 127.0.0.1:$port"
	echo "node $node"
	echo "pid $(state pid)"
	trap - EXIT
}

# undo_start: a start that fails or is interrupted leaves nothing behind.
undo_start() {
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'end_node now' EXIT
}

# watch_owner PID: stops this ejabberd when the process ends.
watch_owner() {
	setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" stop "$3"' \
		watch "$1" "$here/ejabberd.sh" "$dir" </dev/null >/dev/null 2>&1 &
	echo $! >"$dir/watch"
}

# stop_watch: ends the watcher, unless it is the one who stops us.
stop_watch() {
	local pid
	pid=$(state watch)
	rm -f "$dir/watch"
	[ -n "$pid" ] && [ "$pid" != $$ ] || return 0
	! tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "$dir" || kill -- "-$pid" 2>/dev/null || true
}

# end_node kindly|now
end_node() {
	local pid
	pid=$(state pid)
	if running; then
		if [ "$1" = kindly ]; then
			call_seconds=10 call 'init:stop().' >/dev/null 2>&1 || true
			ended "$pid" 20 || true
		fi
		! running || kill -9 "$pid"
		ended "$pid" 10 || fail "process $pid does not end"
	fi
	rm -f "$dir/pid"
	stop_watch
	stop_epmd
}

[ $# -ge 2 ] || usage
enter_root "$here/ejabberd.sh" "$@"
verb=$1
case $verb in start) mkdir -p "$2" ;; esac
dir=$(readlink -f "$2")
[ -d "$dir" ] || fail "$2 is no directory"
shift 2
case $verb in
start)
	find_ejabberd
	start "$@"
	;;
ctl) ctl "$@" ;;
eval)
	[ $# -eq 1 ] || usage
	evaluate "$1"
	;;
stop) end_node kindly ;;
kill) end_node now ;;
*) usage ;;
esac
