#!/usr/bin/env bash
# Builds the packages for Debian (.deb) and Red Hat (.rpm) and their kin.
#
#   scripts/package.sh [DIR]     puts them into DIR (default dist)
#
#   VERSION             default: the output of scripts/version.sh, from CHANGELOG.md and git
#   GOARCH              the machine they are for (default: this one's)
#   SOURCE_DATE_EPOCH   the time of every file in them (default: that of the commit)
#   MAINTAINER          default: the author of the commit
#
# The same commit gives the same packages, byte for byte. nfpm has a go.mod of its own (deploy/package/nfpm.mod): it
# brings seventy modules that no build of Megaphone needs, and they are still pinned by their hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh

out=${1:-dist}
export VERSION=${VERSION:-$(scripts/version.sh)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export MAINTAINER=${MAINTAINER:-$(git log -1 --format='%an <%ae>')}
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -buildvcs=false"
ARCH=$(go env GOARCH)
STAGE=$(mktemp -d)
# shellcheck disable=SC2016 # it is expanded at the end
at_end 'rm -rf "$STAGE"'
export ARCH STAGE

# build ARCH FILE
build() { GOARCH=$1 await go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$2" ./cmd/megaphone; }

# script_page NAME SHORT SCRIPT: the manual page of a script, out of its --help
script_page() {
	{
		printf '.TH %s 8 "" "Megaphone %s" Megaphone\n.SH NAME\n' "${1^^}" "$VERSION"
		printf '%s \\- %s\n.SH DESCRIPTION\n.nf\n' "${1//-/\\-}" "$2"
		"$3" --help | sed "s/\\\\/\\\\e/g; s/-/\\\\-/g; s/^[.']/\\\\\&&/"
	} >"$STAGE/pages/$1.8"
}

build "$ARCH" "$STAGE/megaphone"
tool=$STAGE/megaphone # the one that writes its own manual must run here
if [ "$ARCH" != "$(go env GOHOSTARCH)" ]; then
	tool=$STAGE/tool
	build "$(go env GOHOSTARCH)" "$tool"
fi

mkdir -p "$STAGE/pages" "$STAGE/completions" "$out"
"$tool" man "$STAGE/pages"
script_page megaphone-tune 'get a Linux host ready for N sockets, and undo it' scripts/tune.sh
script_page megaphone-ejabberd-install 'put mod_megaphone into ejabberd, or take it away' scripts/ejabberd-install.sh
for page in "$STAGE"/pages/*; do
	mkdir -p "$STAGE/man/man${page##*.}"
	gzip -9nc "$page" >"$STAGE/man/man${page##*.}/${page##*/}.gz"
done
for shell in bash zsh fish; do "$tool" completion "$shell" >"$STAGE/completions/$shell"; done
gzip -9nc CHANGELOG.md >"$STAGE/changelog.gz"
gzip -9nc >"$STAGE/changelog.Debian.gz" <<END
megaphone ($VERSION-1) stable; urgency=medium

  * See changelog.gz.

 -- $MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END

for format in deb rpm; do
	GOARCH='' await go tool -modfile=deploy/package/nfpm.mod nfpm package \
		--config deploy/package/nfpm.yaml --packager "$format" --target "$out"
done
