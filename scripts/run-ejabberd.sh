#!/usr/bin/env bash
# The production shape in one command: a real ejabberd with mod_megaphone, the edge in front of it, and the chat page.
#
#   scripts/run-ejabberd.sh [flag...]    flags of `megaphone demo`, for example --listen 0.0.0.0:5280
#
# ejabberd is a private one (scripts/ejabberd.sh) in .ejabberd-run/ (or $EJABBERD_RUN), made afresh each time. Ctrl-C
# ends everything.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh

dir=${EJABBERD_RUN:-.ejabberd-run}
node=$dir/ejabberd
[ ! -d "$node" ] || scripts/ejabberd.sh stop "$node"
rm -rf "$node" "$dir/secret"
mkdir -p "$dir"
(umask 077 && head -c 32 /dev/urandom | base64 >"$dir/secret")

# end SIGNAL: passes it on to the demo; the script continues below when that has ended.
demo='' signalled=''
end() {
	signalled=yes
	[ -n "$demo" ] || exit 1
	kill "-$1" "$demo" 2>/dev/null || true
}
trap 'end INT' INT
trap 'end TERM' TERM
at_end 'scripts/ejabberd.sh stop "$node"'

echo 'starting ejabberd...'
started=$(scripts/ejabberd.sh start "$node" --secret "$(cat "$dir/secret")" --owner $$ \
	--module-options "{sleep_after: 2 seconds}" --modules 'mod_stream_mgmt: {}')
link=$(sed -n 's/^link //p' <<<"$started")
[ -n "$link" ] || { echo "run-ejabberd: ejabberd has no mod_megaphone: $started" >&2; exit 1; }
cat <<END

  ejabberd $(sed -n 's/^pid /runs as process /p' <<<"$started"), in $node. Any name and any password will do.
  What it sees of all its users:  scripts/ejabberd.sh ctl $node megaphone_links
  ejabberdctl for it:             scripts/ejabberd.sh ctl $node help

END
bin/megaphone demo --origin "ejabberd=$link" --secret-file "$dir/secret" --domain demo.localhost "$@" &
demo=$!
# A signal to this script ends the wait, too, and then its status is not the demo's.
while
	signalled='' status=0
	wait "$demo" || status=$?
	[ -n "$signalled" ]
do :; done
exit "$status"
