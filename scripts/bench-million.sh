#!/usr/bin/env bash
# Holds a million sessions through one edge on this machine, has them talk, sends all of them a broadcast, and
# reports: a Markdown table, and in the directory all figures as JSON and plots as SVG. Takes about ten minutes.
#
#   scripts/bench-million.sh [--sessions 1000000] [--duration 2m] [--out bench-million] [--force]
#   scripts/bench-million.sh --sessions 1000,10000,100000,1000000    how the cost grows
#   scripts/bench-million.sh --sessions 100000 --storm 6s    kill the origin for six seconds, and see how all come back
#   scripts/bench-million.sh --login none --sessions 200000 --duration 5s    what connecting costs
#   scripts/bench-million.sh --transport websocket [--tls resume]    WebSockets, held idle for two minutes before they talk
#
# --help explains the flags. It changes nothing on the host, and says what scripts/tune.sh would have to.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/children.sh
. "$root/scripts/children.sh"
await make --no-print-directory -s -C "$root" build >&2
await go build -C "$root" -o bin/bench-million ./bench/million
exec "$root/bin/bench-million" --root "$root" "$@"
