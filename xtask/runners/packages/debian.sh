# Runs in a clean Debian system: install, use, remove, and find nothing left.
set -x
before=$(find / -xdev -name '*mcast*' -not -path '/proc/*' -not -path '/given/*' | sort)
apt-get install --yes --no-install-recommends /given/*.deb
mcast --version
mcast demo
mcast explain 239.255.1.3
test -s /usr/share/man/man1/mcast.1.gz
test -s /usr/share/bash-completion/completions/mcast
test -s /usr/share/zsh/vendor-completions/_mcast
test -s /usr/share/doc/mcast/copyright
for unit in record querier top doctor; do test -s "/lib/systemd/system/mcast-$unit@.service"; done
dpkg --verify mcast
apt-get purge --yes mcast
after=$(find / -xdev -name '*mcast*' -not -path '/proc/*' -not -path '/given/*' | sort)
test "$before" = "$after"
