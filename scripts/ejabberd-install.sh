#!/bin/sh
# Installs mod_megaphone into Debian's ejabberd, or takes it away again. Run as root; what is done already is not done
# again. It is scripts/ejabberd-install.sh in a checkout, and megaphone-ejabberd-install in the packages.
#
#   megaphone-ejabberd-install               compile and install the module, and configure its listener
#   megaphone-ejabberd-install --uninstall   remove it; its configuration stays beside as mod_megaphone.yml.removed
#
# OPTIONS
#   --ip ADDRESS         where the links of edges are taken  [127.0.0.1]   a private network: links are not encrypted
#   --port PORT                                              [5279]
#   --secret-file FILE   what edges need to know: its first line is the listener's secret; written if there is no such
#                        file. Without it the secret is in the listener's configuration only
#   --root DIR           install below DIR instead of / (for images and tests)
#   --help               this text
#
# FILES
#   /var/lib/ejabberd/.ejabberd-modules/mod_megaphone/   the module, where `ejabberdctl modules_installed` finds it
#   /etc/ejabberd/modules.d/mod_megaphone.yml            its listener; never overwritten
#
# EXIT STATUS
#   0  done, or nothing to do
#   1  it could not be done, and standard error has the reason
#   2  an option is wrong
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$0")
source=$here/../ejabberd/mod_megaphone
[ -d "$source" ] || source=$here/../share/megaphone/ejabberd/mod_megaphone
ip=127.0.0.1 port=5279 root='' uninstall='' secret_file=''

fail() {
	echo "$name: $*" >&2
	exit 1
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }

wrong() {
	printf "%s: %s\nTry %s --help\n" "$name" "$*" "$name" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--uninstall) uninstall=yes ;;
	--ip | --port | --root | --secret-file)
		[ $# -ge 2 ] || wrong "$1: its value is missing"
		case $1 in
		--ip) ip=$2 ;;
		--port) port=$2 ;;
		--root) root=$2 ;;
		--secret-file) secret_file=$2 ;;
		esac
		shift
		;;
	--help)
		usage
		exit
		;;
	*) wrong "$1: there is no such option" ;;
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

# owned OWNER FILE: ejabberd's user reads them, where there is one.
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

[ -d "$source" ] || fail "$source is missing: the module belongs beside this script, as in a checkout or in the packages"
command -v erlc >/dev/null || fail "erlc is missing: apt-get install ejabberd erlang-base"
for ebin in /usr/lib/*/ejabberd-*/ebin; do :; done # the last one
[ -d "$ebin" ] || fail "Debian's ejabberd is missing: apt-get install ejabberd (for any other see $source/README.txt)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/ebin"
# Deterministic: the second time it is the same, byte for byte, wherever it was compiled.
erlc +deterministic -I "$(dirname "$ebin")/include" -pa "$ebin" -o "$work/ebin" "$source"/src/*.erl ||
	fail "mod_megaphone does not compile"
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
# first_line FILE: as edges read their secret: without a byte order mark, and the white space around it.
first_line() {
	case $(head -c 2 "$1" | od -An -tx1 | tr -d ' ') in
	fffe | feff) fail "$1: the file is UTF-16: save it as UTF-8" ;;
	esac
	head -n 1 "$1" | sed "s/^$(printf '\357\273\277')//; s/^[[:space:]]*//; s/[[:space:]]*\$//"
}

# configured is the secret of the listener, as it is now.
configured() { sed -n 's/^ *secret: "\(.*\)"$/\1/p' "$config" | head -n 1; }

if [ ! -e "$config" ]; then
	mkdir -p "$(dirname "$config")"
	if [ -n "$secret_file" ] && [ -e "$secret_file" ]; then
		secret=$(first_line "$secret_file")
		case $secret in *[!A-Za-z0-9+/=_.-]*) fail "$secret_file: use letters, digits and +/=_.- only" ;; esac
		[ ${#secret} -ge 16 ] || fail "$secret_file: its first line must be a secret of 16 characters or more"
	else
		secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	fi
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
if [ -n "$secret_file" ] && [ ! -e "$secret_file" ]; then
	secret=$(configured)
	[ -n "$secret" ] || fail "$config has no secret: put a line into it, such as   secret: \"16 characters or more\""
	(umask 077 && echo "$secret" >"$secret_file")
	echo "the secret for edges: $secret_file"
	changed=yes
elif [ -n "$secret_file" ] && [ "$(first_line "$secret_file")" != "$(configured)" ]; then
	fail "$secret_file is not the secret of $config, which is never overwritten: change one of them"
fi
if [ -z "$changed" ]; then
	echo "mod_megaphone is installed and up to date: nothing to do"
	exit 0
fi
cat <<END

Next:
  1. ejabberd.yml must have mod_bosh among its modules.
  2. systemctl restart ejabberd
  3. On the edge: put ${secret_file:-the secret of $config} into a file that the edge can read, and
     megaphone edge --listen 0.0.0.0:5280 --origin a=$ip:$port --secret-file FILE
  4. ejabberdctl megaphone_links shows a line for each reactor of the edge.
END
