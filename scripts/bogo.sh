#!/usr/bin/env bash
# Builds BoGo, BoringSSL's suite for TLS, from Debian's source package into a directory. Nothing is installed on this
# host, and no source is kept in the checkout. It takes half a minute and 80 MB.
#
#   scripts/bogo.sh DIR     does nothing if DIR has it; tests/conformance runs DIR/bogo in DIR/runner
set -euo pipefail

package=android-platform-external-boringssl release=bookworm

fail() {
	printf 'bogo: %s\n' "$*" >&2
	exit 1
}

[ $# -eq 1 ] || fail 'usage: scripts/bogo.sh DIR'
dir=$1
[ ! -x "$dir/bogo" ] || exit 0
[ ! -e "$dir" ] || fail "$dir exists, and has no BoGo: remove it and try again"
command -v apt-get >/dev/null || fail "there is no apt-get: build the runner in ssl/test/runner of BoringSSL's source \
by 'go test -c -o bogo', and put it into $dir, with that directory as $dir/runner"

# The release is always the same, so that results can be compared. Its mirror is that of the host.
# shellcheck disable=SC2016
uri=$(apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
	awk -F '|' '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
[ -n "$uri" ] || fail "no source of Debian's packages is configured: see sources.list(5)"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keys" ] || keys='' # then those in trusted.gpg.d

mkdir -p "$(dirname "$dir")"
half=$(mktemp -d "$dir.XXXXXX")
half=$(readlink -f "$half")
trap 'rm -rf "$half"' EXIT
mkdir -p "$half/lists/partial" "$half/runner"
echo "deb-src ${keys:+[signed-by=$keys] }$uri $release main" >"$half/sources.list"
apt() {
	apt-get -q -o Dir::Etc::sourcelist="$half/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$half/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@" >"$half/log" 2>&1 ||
		{ tail -n 20 "$half/log" >&2; fail "apt-get $1 failed"; }
}
echo "bogo: building BoGo of $release's $package"
apt update
(cd "$half" && apt source --download-only "$package")
tar -xf "$half/$package"_*.orig.tar.* -C "$half" --strip-components=2 --wildcards \
	'*/src/go.*' '*/src/ssl/test/runner/*' '*/src/util/testresult/*'
(cd "$half/ssl/test/runner" && GOFLAGS=-mod=mod go test -c -o "$half/bogo" .) || fail 'BoGo does not build'
# Its certificates are all that it reads when it runs.
cp "$half"/ssl/test/runner/*.pem "$half/runner/"
rm -rf "$half/ssl" "$half/util" "$half/lists" "$half/sources.list" "$half"/go.* "$half/$package"_* "$half/log"
chmod 755 "$half"
mv "$half" "$dir"
