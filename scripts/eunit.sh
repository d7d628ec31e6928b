#!/usr/bin/env bash
# Compiles mod_megaphone with all warnings as errors, and runs its eunit tests: scripts/eunit.sh [MODULE...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh

fail() {
	printf 'eunit: %s\n' "$*" >&2
	exit 1
}

# shellcheck source=scripts/root.sh
. scripts/root.sh
enter_root scripts/eunit.sh "$@"

command -v erlc >/dev/null || fail "erlc is missing: run make setup-test"
ebin=$(dirname "$(ls /usr/lib/*/ejabberd-*/ebin/ejabberd.app 2>/dev/null | tail -n 1)")
[ -f "$ebin/ejabberd.app" ] || fail "ejabberd is missing: run make setup-test"

out=$(mktemp -d)
at_end 'rm -rf "$out"'
module=ejabberd/mod_megaphone
mkdir "$out/src" "$out/test"
await erlc +debug_info -Wall -Werror -I "$(dirname "$ebin")/include" -pa "$ebin" -o "$out/src" "$module"/src/*.erl
await erlc +debug_info -Wall -Werror -I "$(dirname "$ebin")/include" -pa "$out/src" -o "$out/test" "$module"/test/*.erl

if [ $# -eq 0 ]; then
	for test in "$module"/test/*_tests.erl; do set -- "$@" "$(basename "$test" .erl)"; done
fi
modules=$(printf ',%s' "$@")
# What the tests stand in for comes first on the path. The log is not shown: they do wrong things on purpose.
MEGAPHONE_VECTORS=$PWD/codec/frame/testdata/frames.json await erl -noinput -kernel logger_level warning \
	-pa "$out/src" "$out/test" -eval "
	logger:set_handler_config(default, level, none),
	halt(case eunit:test([${modules#,}]) of ok -> 0; error -> 1 end)."
