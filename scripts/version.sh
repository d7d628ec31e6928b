#!/bin/sh
# Prints the version of this checkout: that of the first release in CHANGELOG.md. A commit that is not tagged with it
# has its time and hash added, which sorts above that release and below the next one: 0.1.0+20261128120000.g1a2b3c4
#
# The binary and the packages take it from here. Without git, as in an unpacked archive, it is CHANGELOG.md's alone.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^## \[\{0,1\}\([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)
[ -n "$version" ] || {
	echo "version.sh: CHANGELOG.md has no heading with a version, such as: ## 0.1.0 - 2026-11-28" >&2
	exit 1
}
if [ ! -e .git ] || ! commit=$(TZ=UTC git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd.g%h 2>/dev/null); then
	echo "$version"
	exit 0
fi
changed=''
[ -z "$(git status --porcelain --untracked-files=no)" ] || changed=.dirty
if [ -n "$changed" ] || ! git tag --points-at HEAD | grep -qFx "v$version"; then
	version=$version+$commit$changed
fi
echo "$version"
