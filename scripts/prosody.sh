#!/usr/bin/env bash
# A private Prosody for tests: everything of it is in one directory, it listens on 127.0.0.1 only, and any user runs it.
#
#   scripts/prosody.sh start DIR [option...]   makes DIR if need be, starts Prosody, and says where it is:
#                                                bosh http://127.0.0.1:PORT/http-bind
#                                                websocket ws://127.0.0.1:PORT/xmpp-websocket
#                                                pid N
#   scripts/prosody.sh adduser DIR USER PASSWORD   makes an account USER@localhost, also while it runs
#   scripts/prosody.sh stop DIR                stops it, and returns when it has; DIR stays
#   scripts/prosody.sh kill DIR                ends it at once (SIGKILL)
#
# Options of start:
#   --max-inactivity S   seconds without a request after which a BOSH session ends (default 60, as Prosody's)
#   --owner PID          stop when that process has ended, however it ended
#
# Hosts: localhost with accounts, anon.localhost for guests, conference.localhost for rooms. Whatever Host a request
# names, it reaches the BOSH endpoint of all of them. The log is DIR/prosody.log. DIR/prosody.cfg.lua is written by the
# first start and left alone by later ones, port and options included, so that a second start is a restart.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/ports.sh
. "$here/ports.sh"

fail() {
	printf 'prosody: %s\n' "$*" >&2
	exit 1
}

usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 2
}

configure() {
	local port=$1 inactivity=$2
	cat >"$dir/prosody.cfg.lua" <<END
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
certificates = "$dir/certs"
log = { { levels = { min = "info" }, to = "file", filename = "$dir/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { }
s2s_ports = { }
http_ports = { $port }
http_interfaces = { "127.0.0.1" }
https_ports = { }
http_default_host = "localhost"
http_external_url = "http://127.0.0.1:$port/"
trusted_proxies = { "127.0.0.1" }
bosh_max_inactivity = $inactivity
consider_bosh_secure = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
storage = "internal"
modules_enabled = { "roster", "saslauth", "disco", "ping", "private", "vcard4", "vcard_legacy", "presence", "message", "iq",
	"bosh", "websocket", "smacks", "offline", "version" }
consider_websocket_secure = true
modules_disabled = { "s2s", "tls", "posix" }
limits = { }

VirtualHost "localhost"

VirtualHost "anon.localhost"
	authentication = "anonymous"
	modules_disabled = { "bosh", "websocket" }

Component "conference.localhost" "muc"
	restrict_room_creation = false
	muc_room_locking = false
END
}

start() {
	local inactivity=60 owner='' given=("$@")
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage
		case $1 in
		--max-inactivity) inactivity=$2 ;;
		--owner) owner=$2 ;;
		*) usage ;;
		esac
		shift 2
	done
	command -v prosody >/dev/null || fail "prosody is missing: run 'apt-get install prosody'"
	if pid=$(running); then
		fail "it runs already in $dir, pid $pid"
	fi
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap end_now EXIT # a start that fails or is interrupted leaves nothing behind
	mkdir -p "$dir/data" "$dir/certs"
	local port fresh=''
	[ -f "$dir/port" ] || { fresh=yes; free_port >"$dir/port"; }
	port=$(cat "$dir/port")
	[ -f "$dir/prosody.cfg.lua" ] || configure "$port" "$inactivity"
	rm -f "$dir/prosody.pid"
	setsid prosody --config "$dir/prosody.cfg.lua" >"$dir/out" 2>&1 </dev/null &
	local pid=$!
	echo "$pid" >"$dir/pid"
	for _ in $(seq 300); do
		if ! kill -0 "$pid" 2>/dev/null; then
			cat "$dir/out" "$dir/prosody.log" >&2 2>/dev/null || true
			fail "it ended at once"
		fi
		if [ -n "$fresh" ] && grep -qs 'Failed to open server port' "$dir/prosody.log"; then # another program's by now
			end_now
			rm -f "$dir/port" "$dir/prosody.cfg.lua" "$dir/prosody.log"
			start "${given[@]}"
			return
		fi
		if answers "$port"; then
			printf 'bosh http://127.0.0.1:%s/http-bind\nwebsocket ws://127.0.0.1:%s/xmpp-websocket\npid %s\n' "$port" "$port" "$pid"
			[ -z "$owner" ] || watch_owner "$owner" "$pid"
			trap - EXIT
			return
		fi
		sleep 0.1
	done
	kill "$pid"
	fail "it does not answer within 30 s: see $dir/prosody.log"
}

# answers PORT: it serves BOSH.
answers() {
	local status
	exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET /http-bind HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
	read -r -t 5 _ status _ <&3 || status=
	exec 3>&-
	[ "$status" = 200 ]
} 2>/dev/null

# running: the pid of the process that was started in dir, if it is still the same.
running() {
	local pid
	pid=$(cat "$dir/pid" 2>/dev/null) || return 1
	{ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$dir/prosody.cfg.lua" || return 1
	echo "$pid"
}

stop() {
	local pid
	pid=$(running) || return 0
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 100); do
		running >/dev/null || answers "$(cat "$dir/port")" || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

adduser() {
	[ -f "$dir/prosody.cfg.lua" ] || fail "start it first"
	prosodyctl --config "$dir/prosody.cfg.lua" --root register "$1" localhost "$2" >"$dir/adduser.out" 2>&1 ||
		{ cat "$dir/adduser.out" >&2; fail "no account for $1"; }
}

# watch_owner PID PROSODY: stops this Prosody when the process ends; there is no more to watch when Prosody has ended.
watch_owner() {
	setsid bash -c 'while kill -0 "$2"; do kill -0 "$1" || exec "$3" stop "$4"; sleep 1; done' \
		watch "$1" "$2" "$here/prosody.sh" "$dir" </dev/null >/dev/null 2>&1 &
}

end_now() {
	local pid
	pid=$(running) || return 0
	kill -9 "$pid"
	for _ in $(seq 100); do
		running >/dev/null || return 0
		sleep 0.1
	done
	fail "process $pid does not end"
}

[ $# -ge 2 ] || usage
verb=$1
[ "$verb" != start ] || mkdir -p "$2"
[ -d "$2" ] || fail "$2 is no directory"
dir=$(cd "$2" && pwd)
shift 2
case $verb/$# in
start/*) start "$@" ;;
stop/0) stop ;;
kill/0) end_now ;;
adduser/2) adduser "$@" ;;
*) usage ;;
esac
