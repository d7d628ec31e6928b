#!/usr/bin/env bash
# Holds a million logged-in sessions in one real ejabberd behind one edge, all on this machine: Debian's, with
# mod_megaphone, engine: megaphone and sleep_after. They log in, poll, talk, a tenth of them is woken at once, and all
# leave. Reports a Markdown table, and in the directory all figures as JSON and CSV and plots as SVG. Takes about 40
# minutes, and with accounts some more.
#
#   scripts/bench-million-ejabberd.sh [--sessions 1000000] [--rate 2000] [--opening 1000] [--leave-rate 1000]
#                                     [--wait 60] [--chat-seconds 120] [--burst 0.1]
#                                     [--login anonymous|scram] [--presence=false] [--modules] [--tables memory|disk]
#                                     [--out DIR] [--force]
#   scripts/bench-million-ejabberd.sh --sessions 2000,20000,100000    how the cost grows
#   scripts/bench-million-ejabberd.sh --login scram --modules --with bench-million-ejabberd/trials.json --out DIR
#                                     accounts, rosters and all modules beside an earlier run
#
# --help explains the flags. It changes nothing on the host, and says what scripts/tune.sh would have to. Needs ejabberd
# and Erlang (make setup-test).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/children.sh
. "$root/scripts/children.sh"
await make --no-print-directory -s -C "$root" build >&2
await go build -C "$root" -o bin/bench-million-ejabberd ./bench/millionejabberd
exec "$root/bin/bench-million-ejabberd" --root "$root" "$@"
