#!/usr/bin/env bash
# Prepares a checkout of Megaphone for what make is about to do, and does nothing where nothing is to be done.
#
#   scripts/setup.sh run     what the binary needs: Strophe.js for the chat page that is embedded in it
#   scripts/setup.sh test    the same, and Chromium for the browser tests
#   scripts/setup.sh qemu    QEMU, for make qemu-tune
#
# npm packages are installed exactly as e2e/package-lock.json has them.
set -euo pipefail
cd "$(dirname "$0")/.."

page=cmd/megaphone/page
lock=e2e/package-lock.json
strophe=e2e/node_modules/strophe.js/dist/strophe.umd.min.js

fail() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

# have NAME HINT: the command must be there.
have() {
	command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

# apt_install PACKAGE: installs it as root; otherwise says what to do.
apt_install() {
	local package=$1
	command -v apt-get >/dev/null ||
		fail "$package is missing, and there is no apt-get to install it with: please install it"
	[ "$(id -u)" -eq 0 ] ||
		fail "$package is missing, and installing it takes root: run 'sudo apt-get install $package' and try again"
	echo "setup: installing $package"
	local log
	log=$(mktemp)
	if ! { DEBIAN_FRONTEND=noninteractive apt-get update &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		fail "apt-get could not install $package"
	fi
	rm -f "$log"
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
	local stamp=e2e/node_modules/.installed-lock.json
	if ! cmp -s "$lock" "$stamp"; then
		setup_node
		echo "setup: npm ci in e2e/"
		(cd e2e && npm ci --no-audit --no-fund --loglevel=error)
		cp "$lock" "$stamp"
	fi
}

setup_page() {
	[ -f "$strophe" ] || fail "$strophe is missing: remove e2e/node_modules and try again"
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

have go "install Go 1.26 or later (https://go.dev/dl/)"
case ${1:-} in
run)
	setup_npm
	setup_page
	;;
test)
	setup_node
	setup_npm
	setup_page
	setup_chromium
	;;
qemu)
	command -v qemu-system-x86_64 >/dev/null || apt_install qemu-system-x86
	;;
*)
	fail "usage: scripts/setup.sh run|test|qemu"
	;;
esac
