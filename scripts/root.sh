# shellcheck shell=bash
# Sourced by scripts that run Erlang and ejabberd. EJABBERD_ROOT names a directory of scripts/ejabberd-root.sh: the script
# runs once more with its /usr instead of the host's, in a mount namespace of its own. All else is the host's: processes,
# ports, files.
#
#   enter_root "$0" "$@"    returns if there is no EJABBERD_ROOT, or in its namespace

enter_root() {
	[ -n "${EJABBERD_ROOT:-}" ] && [ -z "${EJABBERD_ENTERED:-}" ] || return 0
	[ -x "$EJABBERD_ROOT/usr/bin/erl" ] ||
		fail "EJABBERD_ROOT is $EJABBERD_ROOT, and there is no Erlang in it: make it by scripts/ejabberd-root.sh"
	EJABBERD_ROOT=$(readlink -f "$EJABBERD_ROOT")
	local namespace=(unshare --mount)
	[ "$(id -u)" -eq 0 ] || namespace=(unshare --mount --map-root-user)
	# shellcheck disable=SC2016
	EJABBERD_ENTERED=yes exec "${namespace[@]}" /bin/bash -c \
		'mount --bind "$EJABBERD_ROOT/usr" /usr && exec /bin/bash "$@"' root "$@"
}
