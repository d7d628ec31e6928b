#!/bin/bash
# Makes a fresh Debian of this host's release, from the mirror that this host has, with a systemd and nothing else.
#
#   debian.sh DIR     which must not exist
#
# The packages that our documents install from Debian are downloaded, so that apt-get can install them without a network.
set -euo pipefail
dir=$1
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck disable=SC2016 # apt's own variables
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
	sed -n "s/^$release //p" | head -n 1)
# shellcheck disable=SC2016 # mmdebstrap's own variable
exec mmdebstrap --quiet --mode=root --format=directory --variant=minbase --include=systemd --skip=cleanup/apt \
	--customize-hook='printf "127.0.0.1 localhost\n" >"$1/etc/hosts"' \
	--customize-hook='chroot "$1" apt-get -qq -y --download-only --install-recommends install ejabberd >/dev/null' \
	"$release" "$dir" ${mirror:+"$mirror"} # without, it is Debian's own
