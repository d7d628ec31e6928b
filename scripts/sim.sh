#!/usr/bin/env bash
# Simulates the histories of seeds, on all processors: scripts/sim.sh FIRST-LAST [TAGS]
# A failure prints its seed and its last steps. SIM_SEEDS=SEED repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh
first=${1%-*}
last=${1#*-}
tags=${2:-sim}
if ! [[ $first =~ ^[0-9]+$ && $last =~ ^[0-9]+$ && $first -le $last ]]; then
	echo "sim: $1 is not FIRST-LAST" >&2
	exit 2
fi

dir=$(mktemp -d)
at_end 'rm -rf "$dir"'
await go test -c -tags "$tags" -o "$dir/sim.test" ./tests/sim
cd tests/sim
parts=$(nproc)
size=$(((last - first + parts) / parts))
pids=()
for ((from = first; from <= last; from += size)); do
	to=$((from + size - 1 < last ? from + size - 1 : last))
	SIM_SEEDS=$from-$to "$dir/sim.test" -test.v -test.timeout 0 -test.run '^TestSeeds$' >"$dir/$from.log" 2>&1 &
	pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
	wait "$pid" || failed=1
done
sed -n '/^=== RUN/d; /^PASS$/d; p' "$dir"/*.log
exit "$failed"
