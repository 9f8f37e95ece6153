#!/bin/sh
# uninstall.sh DESTDIR PREFIX SBIN UNITS: removes what install.sh has copied.
# Configuration in /etc/wcfs stays.
set -eu
root=$1 prefix=$2 sbin=$3 units=$4
share=$root$prefix/share

rm -f "$root$prefix/bin/wcfs" "$root$sbin/mount.wcfs" "$root$units/wcfs@.service" "$root$prefix/lib/tmpfiles.d/wcfs.conf"
rm -f "$share"/man/man1/wcfs.1 "$share"/man/man1/wcfs-*.1 "$share/man/man8/mount.wcfs.8"
rm -f "$share/bash-completion/completions/wcfs" "$share/zsh/site-functions/_wcfs" "$share/fish/vendor_completions.d/wcfs.fish"
rm -rf "$share/doc/wcfs" "$share/wcfs"
rmdir "$root/etc/wcfs" 2>/dev/null || true
