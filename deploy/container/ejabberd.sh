#!/bin/sh
# Runs ejabberd in its container: the first process, with a listener for edges.
#
#   XMPP_DOMAIN            the domain that a new ejabberd.yml serves   [localhost]
#   /run/link/secret        what edges need to know; made here if it is missing
set -eu
secret_file=/run/link/secret

sed -i "s/^  - localhost\$/  - ${XMPP_DOMAIN:-localhost}/" /etc/ejabberd/ejabberd.yml
if [ ! -s "$secret_file" ]; then
	od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secret_file.new"
	chmod 640 "$secret_file.new"
	mv "$secret_file.new" "$secret_file"
fi
umask 077
cat >/etc/ejabberd/modules.d/mod_megaphone.yml <<END
listen:
  -
    port: 5279
    ip: "0.0.0.0"
    module: mod_megaphone
    secret: "$(cat "$secret_file")"

modules:
  mod_megaphone: {}
END

# The shell is the first process, and no signal reaches ejabberd without it.
trap 'ejabberdctl stop' TERM INT
ejabberdctl foreground &
status=0
wait $! || status=$?
[ "$status" -le 128 ] || wait $! || true # it was the signal, and now ejabberd ends
