#!/bin/sh
# Installs mod_megaphone into Debian's ejabberd, or takes it away again. Run as root; what is done already is not done again.
#
#   scripts/ejabberd-install.sh               compile and install the module, and configure its listener
#   scripts/ejabberd-install.sh --uninstall   remove it; its configuration stays beside as mod_megaphone.yml.removed
#
# Options:
#   --ip ADDRESS    where the links of edges are taken     [127.0.0.1]   a private network: links are not encrypted
#   --port PORT                                            [5279]
#   --root DIR      install below DIR in place of / (for packages and tests)
#
# Files: /var/lib/ejabberd/.ejabberd-modules/mod_megaphone/   the module, where `ejabberdctl modules_installed` finds it
#        /etc/ejabberd/modules.d/mod_megaphone.yml            its listener, with a secret made here; never overwritten
set -eu

source=$(cd "$(dirname "$0")/../ejabberd/mod_megaphone" && pwd)
ip=127.0.0.1 port=5279 root='' uninstall=''

fail() {
	echo "ejabberd-install: $*" >&2
	exit 1
}

usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--uninstall) uninstall=yes ;;
	--ip | --port | --root)
		[ $# -ge 2 ] || usage
		case $1 in
		--ip) ip=$2 ;;
		--port) port=$2 ;;
		--root) root=$2 ;;
		esac
		shift
		;;
	*) usage ;;
	esac
	shift
done

# Both are words of a configuration file.
case $ip in '' | *[!0-9A-Fa-f.:]*) fail "--ip: $ip: give an IP address, for example 10.0.0.2" ;; esac
case $port in '' | *[!0-9]* | ??????*) fail "--port: $port: give a number from 1 to 65535" ;; esac

modules=$root/var/lib/ejabberd/.ejabberd-modules
dest=$modules/mod_megaphone
config=$root/etc/ejabberd/modules.d/mod_megaphone.yml
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "this takes root: run it with sudo"

# owned FILE...: ejabberd's user reads them, where there is one.
owned() {
	if [ "$(id -u)" -eq 0 ] && id ejabberd >/dev/null 2>&1; then chown -R "$1" "$2"; fi
}

if [ -n "$uninstall" ]; then
	if [ ! -e "$dest" ] && [ ! -e "$config" ]; then
		echo "mod_megaphone is not installed: nothing to do"
		exit 0
	fi
	rm -rf "$dest"
	[ ! -e "$config" ] || mv "$config" "$config.removed"
	echo "mod_megaphone is removed. Restart ejabberd: systemctl restart ejabberd"
	exit 0
fi

command -v erlc >/dev/null || fail "erlc is missing: apt-get install ejabberd erlang-base"
ebin=$(ls -d /usr/lib/*/ejabberd-*/ebin 2>/dev/null | tail -n 1)
[ -n "$ebin" ] || fail "Debian's ejabberd is missing: apt-get install ejabberd"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/ebin"
erlc -I "$(dirname "$ebin")/include" -pa "$ebin" -o "$work/ebin" "$source"/src/*.erl || fail "mod_megaphone does not compile"
cp "$source/mod_megaphone.spec" "$source/README.txt" "$source/COPYING" "$work/"

changed=''
if ! diff -rq "$work" "$dest" >/dev/null 2>&1; then
	if [ ! -d "$modules" ]; then
		mkdir -p "$modules"
		owned ejabberd:ejabberd "$modules"
	fi
	rm -rf "$dest.new"
	cp -R "$work" "$dest.new"
	chmod 755 "$dest.new"
	rm -rf "$dest"
	mv "$dest.new" "$dest"
	owned ejabberd:ejabberd "$dest"
	echo "installed: $dest"
	changed=yes
fi
if [ ! -e "$config" ]; then
	mkdir -p "$(dirname "$config")"
	secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	(
		umask 077
		cat >"$config" <<END
# Links of Megaphone edges. An edge needs the secret in a file: megaphone edge --origin a=$ip:$port --secret-file FILE
listen:
  -
    port: $port
    ip: "$ip"
    module: mod_megaphone
    secret: "$secret"

modules:
  mod_megaphone: {}
END
	)
	owned root:ejabberd "$config"
	chmod 640 "$config"
	echo "configured: $config"
	changed=yes
fi
if [ -z "$changed" ]; then
	echo "mod_megaphone is installed and up to date: nothing to do"
	exit 0
fi
cat <<END

Next:
  1. ejabberd.yml must have mod_bosh among its modules.
  2. systemctl restart ejabberd
  3. On the edge: put the secret of $config into a file, and
     megaphone edge --listen 0.0.0.0:5280 --origin a=$ip:$port --secret-file FILE
  4. ejabberdctl megaphone_links shows a line for each reactor of the edge.
END
