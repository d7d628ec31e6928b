#!/bin/bash
# Has podman-compose run the images of images.sh in namespaces of their own, two users chat over them, and all of it
# stopped. It prints a line "NAME: VALUE" for what is to be looked at, and ends with 0 if all of it could be done.
#
#   compose.sh CONTEXT STORE CGROUP
set -euo pipefail
context=$1 store=$2 cgroup=$3 stage=${4:-}

if [ -z "$stage" ]; then # the processes of all containers end with this one
	mkdir "$cgroup"
	echo $$ >"$cgroup/cgroup.procs" # the root of the new cgroup namespace
	exec timeout --kill-after=5 150 unshare --net --mount --propagation private --cgroup --pid --fork --kill-child \
		--mount-proc bash "$0" "$context" "$store" "$cgroup" inside
fi

# shellcheck source=/dev/null
. "$(dirname "$0")/podman.env.sh"
ip link set lo up
mkdir -p /run/netns
mount -t tmpfs netns /run/netns
umount -R /sys/fs/cgroup # crun takes no mixture of both kinds
mount -t cgroup2 cgroup /sys/fs/cgroup
# Devices of its own, because crun gives a container's standard input to the container's user, and that is /dev/null.
mount -t tmpfs -o mode=755 dev /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/full c 1 7
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd

compose() { podman-compose -p megaphone "$@"; }

# healthy CONTAINER: waits until its health check passes; without systemd nothing else runs it.
healthy() {
	local late=$((SECONDS + 60))
	until podman healthcheck run "$1" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$late" ]; then
			podman ps -a
			podman logs "$1"
			exit 1
		fi
		sleep 0.2
	done
}

status() { # KEY: of the edge's process
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$(podman inspect megaphone_edge_1 --format '{{.State.Pid}}')/status"
}

cd "$context"
compose up --detach
healthy megaphone_ejabberd_1
for n in 1 2; do podman exec megaphone_ejabberd_1 ejabberdctl register load$n example.org secret; done
until podman exec megaphone_edge_1 megaphone health --ready; do
	[ "$SECONDS" -lt 60 ] || exit 1
	sleep 0.2
done
healthy megaphone_edge_1
echo "uid: $(status Uid | cut -f 1)"
echo "capabilities: $(status CapPrm) $(status CapBnd)"
echo "no new privileges: $(status NoNewPrivs)"
echo "check: $(podman inspect megaphone_edge_1 --format '{{.Config.Healthcheck.Test}}')"
echo "version: $(podman inspect localhost/megaphone --format '{{index .Labels "org.opencontainers.image.version"}}')"
echo "read-only: $(podman inspect megaphone_edge_1 --format '{{.HostConfig.ReadonlyRootfs}}')"
echo "files: $(cd "$(podman image mount localhost/megaphone)" && find . -type f | sort | tr '\n' ' ')"
echo "links: $(podman exec megaphone_ejabberd_1 ejabberdctl megaphone_links | wc -l)"
./megaphone load --target http://127.0.0.1:5280/http-bind --source 127.0.0.1 --domain example.org --sessions 2 \
	--login plain --scenario chat --messages 10 --duration 3s
compose stop
for name in edge ejabberd; do
	echo "$name ended: $(podman inspect "megaphone_${name}_1" --format '{{.State.ExitCode}}')"
done
compose down
