#!/usr/bin/env bash
# Measures held WebSockets of an edge with its embedded origin beside a Go chat on a library, and ejabberd, on the
# same work in turns: memory and CPU of each, and the delivery of messages. Prints a Markdown table; takes about five
# minutes a round and ends by itself.
#
#   scripts/bench-websocket.sh [--rounds 3] [--sessions 8000] [--idle 65s] [--talk 10s] [--only edge,library]
#
# --help explains the flags. It needs ejabberd and Erlang (make setup-test), and changes nothing on the host.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/children.sh
. "$root/scripts/children.sh"
await make --no-print-directory -s -C "$root" build >&2
await go build -C "$root" -o bin/bench-websocket ./bench/websocket
exec "$root/bin/bench-websocket" --root "$root" "$@"
