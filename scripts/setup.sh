#!/usr/bin/env bash
# Prepares a checkout of Megaphone for a target of make, and does nothing if nothing is missing.
#
#   scripts/setup.sh run            what the binary needs: Strophe.js for the chat page that is embedded in it
#   scripts/setup.sh run-ejabberd   the same, and ejabberd
#   scripts/setup.sh test           the same, the tests of the ejabberd module, prosody, HAProxy, nginx, hitch, promtool,
#                                   Chromium, finch, gnutls-cli, openssl, curl, Java, Python's websockets, Pebble,
#                                   BoGo (in .bogo)
#   scripts/setup.sh qemu           QEMU, for make qemu-tune
#   scripts/setup.sh peers          nginx, HAProxy, Pushpin and wrk, for make bench-peers
#   scripts/setup.sh tls-peers      nginx, HAProxy, hitch and wrk, for make bench-tls
#
# npm packages are installed exactly as tests/browser/package-lock.json has them.
set -euo pipefail
cd "$(dirname "$0")/.."

page=cmd/megaphone/page
lock=tests/browser/package-lock.json
strophe=tests/browser/node_modules/strophe.js/dist/strophe.umd.min.js

fail() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

# have NAME HINT: the command must be there.
have() {
	command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

# apt_install PACKAGE...: installs them as root; otherwise says what to do.
apt_install() {
	command -v apt-get >/dev/null || fail "missing, and there is no apt-get to install it with: $*"
	[ "$(id -u)" -eq 0 ] ||
		fail "missing, and installing it takes root: run 'sudo apt-get install $*' and try again"
	echo "setup: installing $*"
	local log
	log=$(mktemp)
	if ! { DEBIAN_FRONTEND=noninteractive apt-get update &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		fail "apt-get could not install $*"
	fi
	rm -f "$log"
}

# apt_install_servers PACKAGE...: the same for packages that come with a service. Scripts start private ones where they
# need them; the system's must not listen on this host because of a run of the tests.
apt_install_servers() {
	local policy=/usr/sbin/policy-rc.d
	if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	apt_install "$@"
	echo "setup: services of these packages were not started; 'systemctl disable' keeps them so"
}

# installed PACKAGE: Debian's package is there.
installed() { [ "$(dpkg-query -Wf '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# setup_packages PACKAGE...: installs those of them that are missing.
setup_packages() {
	local missing=() package
	for package in "$@"; do installed "$package" || missing+=("$package"); done
	[ ${#missing[@]} -eq 0 ] || apt_install_servers "${missing[@]}"
}

# An ejabberd of one's own is named by EJABBERD_EBIN; see scripts/ejabberd.sh.
setup_ejabberd() {
	if [ -z "${EJABBERD_EBIN:-}" ]; then
		setup_packages ejabberd
	elif [ ! -f "$EJABBERD_EBIN/ejabberd.app" ]; then
		fail "EJABBERD_EBIN is $EJABBERD_EBIN, and there is no ejabberd.app in it"
	fi
}

# The tests need Node 20.11 or later.
setup_node() {
	have node "install Node.js 20.11 or later (Debian 13: apt-get install nodejs npm)"
	node -e 'const [a, b] = process.versions.node.split(".").map(Number)
		process.exit(a > 20 || (a === 20 && b >= 11) ? 0 : 1)' ||
		fail "node is $(node --version), but 20.11 or later is needed"
	command -v npm >/dev/null || apt_install npm
}

# The stamp is a copy of the lock file that node_modules was installed from: times of files say nothing here, as
# git and npm set them as they like.
setup_npm() {
	local stamp=tests/browser/node_modules/.installed-lock.json
	if ! cmp -s "$lock" "$stamp"; then
		setup_node
		echo "setup: npm ci in tests/browser/"
		(cd tests/browser && npm ci --no-audit --no-fund --loglevel=error)
		cp "$lock" "$stamp"
	fi
}

setup_page() {
	[ -f "$strophe" ] || fail "$strophe is missing: remove tests/browser/node_modules and try again"
	if ! cmp -s "$strophe" "$page/strophe.umd.min.js"; then
		mkdir -p "$page"
		cp "$strophe" "$page/strophe.umd.min.js"
	fi
}

# The tests start /usr/bin/chromium, or what CHROMIUM names.
setup_chromium() {
	[ ! -x "${CHROMIUM:-/usr/bin/chromium}" ] || return 0
	[ -z "${CHROMIUM:-}" ] || fail "CHROMIUM is $CHROMIUM, and that is no program"
	apt_install chromium
}

# Pebble, an ACME CA for tests, has a go.mod of its own; go build keeps the programs in its cache.
setup_tools() {
	local tool
	for tool in pebble pebble-challtestsrv; do
		go tool -modfile=tests/pebble/pebble.mod -n "$tool" >/dev/null
	done
}

have go "install Go 1.26 or later (https://go.dev/dl/)"
case ${1:-} in
run)
	setup_npm
	setup_page
	;;
run-ejabberd)
	setup_npm
	setup_page
	setup_ejabberd
	;;
test)
	setup_node
	setup_npm
	setup_page
	setup_chromium
	setup_ejabberd
	setup_packages erlang-dev erlang-eunit prosody haproxy nginx-light prometheus hitch finch gnutls-bin openssl curl
	setup_packages python3-websockets
	command -v java >/dev/null || setup_packages default-jre-headless # 50 MB to fetch
	setup_packages systemd iproute2 procps man-db shellcheck lintian rpm mmdebstrap # packages, and systems for them
	setup_tools
	scripts/bogo.sh .bogo
	setup_packages podman podman-compose buildah crun netavark aardvark-dns iptables # images, and an engine that runs them
	;;
qemu)
	command -v qemu-system-x86_64 >/dev/null || apt_install qemu-system-x86
	;;
peers)
	setup_packages nginx-light haproxy pushpin condure wrk
	;;
tls-peers)
	setup_packages nginx-light haproxy hitch wrk
	;;
*)
	fail "usage: scripts/setup.sh run|run-ejabberd|test|qemu|peers|tls-peers"
	;;
esac
