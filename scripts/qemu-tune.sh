#!/usr/bin/env bash
# qemu-tune.sh - tune a stock Debian kernel in QEMU, and hold many sessions through one edge in it
#
#   scripts/qemu-tune.sh [--sessions N] [--hold SECONDS] [--rate R] [--memory MIB] [--time SECONDS]
#
# The kernel of Debian's linux-image-cloud-amd64 boots with an initramfs of busybox-static, this tree's megaphone and
# scripts/tune.sh (the packages are downloaded and taken apart; nothing but QEMU is installed). In the guest, which has
# the limits that a new machine has: tune.sh --check and megaphone doctor refuse; --apply, RLIMIT_NOFILE is raised, both
# are content; one edge with --descriptor-tables off holds N sessions of megaphone load (default 100000) at the
# embedded origin for a while, and none is lost; tune.sh --revert sets back every value. Without KVM: QEMU emulates two
# cores, which take some hundred sessions a second.
#
# Options: --sessions (100000), --hold, once all are there (20), --rate of new sessions a second (600), --memory of the
# guest (what N needs), --time after which it is given up (1800). The console goes to bin/qemu/console.log, the load's
# report to bin/qemu/report.json. Exit status: 0 all of this held, 1 it did not, 2 an option is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/children.sh
. scripts/children.sh

sessions=100000 hold=20 rate=600 memory='' limit=1800
dir=bin/qemu
busybox=busybox-static kernel=linux-image-cloud-amd64

fail() {
	printf 'qemu-tune: %s\n' "$*" >&2
	exit 1
}

wrong() {
	printf 'qemu-tune: %s\n' "$*" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--help | -h)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
		exit 0
		;;
	--sessions | --hold | --rate | --memory | --time)
		[[ ${2:-} =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1: give a number behind it"
		;;
	*) wrong "$1: no such option; try --help" ;;
	esac
	case $1 in
	--sessions) sessions=$2 ;;
	--hold) hold=$2 ;;
	--rate) rate=$2 ;;
	--memory) memory=$2 ;;
	--time) limit=$2 ;;
	esac
	shift 2
done

# What the doctor asks for with both ends, 8199 bytes a socket, and as much as the others take: origin and load some
# 3000 bytes a session, kernel, initramfs and its copy 512 MiB.
memory=${memory:-$((sessions * (2 * 8199 + 3000) / 1048576 + 704))}

# package NAME: takes the newest version of a Debian package apart into $dir/NAME.
package() {
	local name=$1 deb
	[ ! -d "$dir/$name" ] || return 0
	command -v apt-get >/dev/null || fail "there is no apt-get to download $name with"
	echo "qemu-tune: downloading $name"
	mkdir -p "$dir/deb"
	rm -f "$dir/deb/$name"_*.deb
	(cd "$dir/deb" && apt-get download "$name" >log 2>&1) ||
		fail "apt-get cannot download $name ($(tail -n 1 "$dir/deb/log")): is apt-get update due?"
	deb=$(echo "$dir/deb/$name"_*.deb)
	rm -rf "$dir/$name.new"
	# The modules of a kernel are not needed.
	mkdir -p "$dir/$name.new"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/$name.new" --exclude='./lib/modules'
	mv "$dir/$name.new" "$dir/$name"
}

# kernel_package: what the meta package stands for at present.
kernel_package() {
	apt-cache depends "$kernel" | sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1
}

await scripts/setup.sh run
await scripts/setup.sh qemu
mkdir -p "$dir"
image=$(kernel_package)
[ -n "$image" ] || fail "apt knows no $kernel: is apt-get update due?"
package "$image"
package "$busybox"
vmlinuz=$(echo "$dir/$image"/boot/vmlinuz-*)

root=$(mktemp -d)
# shellcheck disable=SC2016
at_end 'rm -rf "$root"'
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/var/lib" "$root/etc"
CGO_ENABLED=0 await go build -trimpath -o "$root/bin/megaphone" ./cmd/megaphone
cp "$dir/$busybox/bin/busybox" scripts/tune.sh "$root/bin"
cp scripts/qemu-init.sh "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initrd"

echo "qemu-tune: $image, $sessions sessions, $memory MiB, $limit s at most"
start=$SECONDS
# The console is read as it comes: what the guest has to say is shown, all of it is kept.
boot() {
	timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m "${memory}M" -nographic \
		-no-reboot -nic none -kernel "$vmlinuz" -initrd "$dir/initrd" \
		-append "console=ttyS0 quiet panic=-1 megaphone.sessions=$sessions megaphone.rate=$rate megaphone.hold=$hold" \
		</dev/null 2>&1 | sed -u 's|\r||g' | tee "$dir/console.log" |
		grep --line-buffered -a -e '^guest: ' -e '^MUST' -e '^This host' -e 'Kernel panic' || true
}
await boot
took=$((SECONDS - start))

sed -n '/^guest: report begins/,/^guest: report ends/{/^guest: /d;p}' "$dir/console.log" >"$dir/report.json"
if ! grep -aq '^guest: passed$' "$dir/console.log"; then
	tail -n 20 "$dir/console.log" >&2
	fail "it did not pass, after $took s; $dir/console.log has all of it"
fi
echo
sed -n '/^hold of /,/^interrupted/p' "$dir/console.log"
sockets=$(sed -n 's/^guest: result sockets_at_most=\([0-9]*\).*/\1/p' "$dir/console.log")
rss=$(sed -n 's/^guest: result .*edge_rss_kib=\([0-9]*\).*/\1/p' "$dir/console.log")
echo "qemu-tune: passed in $took s: $sessions sessions held through one descriptor table, $sockets sockets at once," \
	"edge $((rss / 1024)) MiB ($((rss * 1024 / sessions)) bytes a session, the process included)"
