#!/usr/bin/env bash
# Unpacks the ejabberd and the Erlang of another Debian release into a directory, for EJABBERD_ROOT (scripts/root.sh).
# Nothing is installed on this host. It takes 20 seconds and 190 MB.
#
#   scripts/ejabberd-root.sh RELEASE DIR     for example trixie, sid; does nothing if DIR has it
set -euo pipefail

fail() {
	printf 'ejabberd-root: %s\n' "$*" >&2
	exit 1
}

[ $# -eq 2 ] || fail 'usage: scripts/ejabberd-root.sh RELEASE DIR'
release=$1 dir=$2
[ ! -f "$dir/release" ] || [ "$(cat "$dir/release")" != "$release" ] || exit 0
[ ! -e "$dir" ] || fail "$dir exists: remove it and try again"
command -v mmdebstrap >/dev/null || fail 'mmdebstrap is missing: run make setup-test'

# Whether old package lists will do is for the host to say.
eval "$(apt-config shell check Acquire::Check-Valid-Until)"
mkdir -p "$(dirname "$dir")"
half=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$half"' EXIT
echo "ejabberd-root: unpacking the ejabberd of $release"
# What scripts/ejabberd.sh and scripts/eunit.sh call comes with it: the host's own needs the host's /usr.
mmdebstrap --variant=extract ${check:+--aptopt="Acquire::Check-Valid-Until \"$check\""} \
	--include=ejabberd,erlang-base,erlang-dev,erlang-eunit \
	--include=bash,dash,coreutils,findutils,grep,sed,mawk,procps,util-linux \
	"$release" "$half" >"$half.log" 2>&1 || { tail -n 20 "$half.log" >&2; rm -f "$half.log"; fail "cannot unpack $release"; }
rm -f "$half.log"
echo "$release" >"$half/release"
chmod 755 "$half"
mv "$half" "$dir"
