#!/usr/bin/env bash
# Measures a real ejabberd with and without a Megaphone edge before it: sockets, processes, memory, CPU, delivery.
# Prints Markdown tables; takes about an hour as it is, says so, and ends by itself.
#
#   scripts/bench-ejabberd.sh [--rounds 3] [--sessions 2000,5000,8000] [--wait 20] [--messages 500] [--chat 20s]
#                             [--no-busy-wait] [--module-options YAML] [--modules] [--erl-flags FLAGS]
#                             [--ways direct,megaphone,engine] [--json FILE]
#
# --help explains the flags. Needs ejabberd and Erlang (make setup-test), and RLIMIT_NOFILE above the sessions.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/children.sh
. "$root/scripts/children.sh"
await make --no-print-directory -s -C "$root" build >&2
await go build -C "$root" -o bin/bench-ejabberd ./bench/ejabberd
exec "$root/bin/bench-ejabberd" --root "$root" "$@"
