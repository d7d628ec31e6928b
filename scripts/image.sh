#!/usr/bin/env bash
# Makes a directory from which podman or docker build the images, and compose runs an edge before an ejabberd.
#
#   scripts/image.sh [DIR]     fills DIR (default dist/image), replacing its contents
#
#   VERSION, GOARCH            as for scripts/package.sh
#
# The binary is that of the packages: static, built here. So the recipes need neither Go nor Node.js nor a registry's
# image of them.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-dist/image}
version=${VERSION:-$(scripts/version.sh)}
rm -rf "$out"
mkdir -p "$out/ejabberd/mod_megaphone"
CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$version" -o "$out/megaphone" ./cmd/megaphone
cp deploy/container/* "$out/"
sed -i "s/^ARG VERSION=.*/ARG VERSION=$version/" "$out"/*Containerfile
cp -R ejabberd/mod_megaphone/{src,conf,mod_megaphone.spec,README.txt,COPYING} "$out/ejabberd/mod_megaphone/"
cp scripts/ejabberd-install.sh "$out/megaphone-ejabberd-install"
echo "$out is ready. In it: docker compose up --build --detach"
