#!/bin/bash
# Builds the images with podman-compose, as docs/install.md has it for podman, into a store of their own.
#
#   images.sh BASE CONTEXT STORE     BASE is a fresh Debian, which stands for the registry's debian:bookworm-slim
#
# Builds run under chroot, because a container would want control groups.
set -euo pipefail
# shellcheck disable=SC2034 # store is for podman.env.sh
base=$1 context=$2 store=$3
# shellcheck source=/dev/null
. "$(dirname "$0")/podman.env.sh"

image=$(buildah from scratch)
root=$(buildah mount "$image")
cp -a "$base/." "$root/"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # as in Debian's own image: nothing is started
chmod 755 "$root/usr/sbin/policy-rc.d"
buildah commit --quiet --rm "$image" docker.io/library/debian:bookworm-slim
cd "$context"
podman-compose -p megaphone build
