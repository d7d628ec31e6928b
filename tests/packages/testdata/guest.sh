#!/bin/bash
# Boots a systemd as the first process of namespaces of its own: processes, mounts, network, cgroups. Its root is an
# overlay over BASE, so that all it writes is gone with it; it can change no sysctl of the host's.
#
#   guest.sh BASE DIR SHARE CGROUP     BASE is a system, / this host's own. DIR for the overlay, SHARE to be seen in it at
#                                      the same path; both outside of /tmp
#
# Only systemd itself and its journal are started in it: what else is installed here stays out.
set -euo pipefail
base=$1 dir=$2 share=$3 cgroup=$4 stage=${5:-}

if [ -z "$stage" ]; then
	mkdir "$cgroup"
	echo $$ >"$cgroup/cgroup.procs" # the root of the new cgroup namespace
	exec unshare --pid --fork --kill-child --mount --propagation private --net --uts --ipc --cgroup \
		bash "$0" "$base" "$dir" "$share" "$cgroup" inside
fi

ip link set lo up
mount -t tmpfs overlay "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
cd "$dir/root"
mkdir -p ".$share"
mount --bind "$share" ".$share"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs run run
mount -t tmpfs tmp tmp
mount -t tmpfs dev dev
for device in null zero full random urandom; do
	touch "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

rm -rf etc/megaphone var/lib/megaphone etc/sysctl.d/90-megaphone.conf
find etc/systemd/system lib/systemd/system -path '*.wants/*' -delete
cat >etc/systemd/system/guest.target <<'END'
[Unit]
Wants=systemd-journald.service systemd-journald.socket
DefaultDependencies=no
END
mkdir old
pivot_root . old
umount -l old
exec env -i container=guest PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=guest.target
