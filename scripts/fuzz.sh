#!/usr/bin/env bash
# Runs each fuzz target of the tree for a time (default 20s), one after the other: scripts/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh
time=${1:-20s}

targets=$(find . -name node_modules -prune -o -name '*_test.go' -exec grep -HoE '^func Fuzz[A-Za-z0-9_]+' {} + |
	sed 's/:func /:/' | sort)
if [ -z "$targets" ]; then
	echo 'fuzz: no fuzz targets found' >&2
	exit 1
fi
log=$(mktemp)
at_end 'rm -f "$log"'

# only_late: the run in $log found nothing, but its end counts as a failure before Go 1.27 (https://go.dev/issue/75804).
only_late() {
	grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"
}

n=0
for target in $targets; do
	package=$(dirname "${target%%:*}")
	name=${target##*:}
	echo "fuzz: $name in $package for $time"
	if ! await go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 1000x \
		"$package" >"$log" 2>&1 && ! only_late; then
		cat "$log"
		echo "fuzz: $name in $package failed; the input it names is now a test case" >&2
		exit 1
	fi
	n=$((n + 1))
done
echo "fuzz: $n targets, $time each, nothing found"
