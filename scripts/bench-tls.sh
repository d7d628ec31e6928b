#!/usr/bin/env bash
# Measures nginx, HAProxy and hitch beside a Megaphone edge, all with TLS, on the same work in turns: memory and
# sockets for each held request, short requests, the same while requests are held, new connections with full handshakes
# of TLS 1.3 and 1.2 and with resumed sessions. Prints Markdown tables; takes about ten minutes and ends by itself.
#
#   scripts/bench-tls.sh [--rounds 3] [--duration 5s] [--connections 64,256,1024] [--held 9000] [--only edge,nginx]
#
# --help explains the flags. Debian's packages of the peers and wrk are installed if they are missing; no service is
# started. RLIMIT_NOFILE must be above twice the number of held requests. The client needs 25 KB for each.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/children.sh
. "$root/scripts/children.sh"
await "$root/scripts/setup.sh" tls-peers >&2
await make --no-print-directory -s -C "$root" build >&2
await go build -C "$root" -o bin/bench-peers ./bench/peers
exec "$root/bin/bench-peers" --tls --root "$root" "$@"
