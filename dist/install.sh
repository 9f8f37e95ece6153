#!/bin/sh
# install.sh BINARY DESTDIR PREFIX SBIN UNITS: copies what belongs to an
# installation below DESTDIR. uninstall.sh removes the same files.
set -eu
binary=$1 root=$2 prefix=$3 sbin=$4 units=$5
here=$(dirname "$0")
umask 022

install -D -m 755 "$binary" "$root$prefix/bin/wcfs"
mkdir -p "$root$sbin"
ln -sf "$prefix/bin/wcfs" "$root$sbin/mount.wcfs"
install -d "$root$units" "$root/etc/wcfs"
sed "s|/usr/bin/wcfs|$prefix/bin/wcfs|" "$here/wcfs@.service" > "$root$units/wcfs@.service"
chmod 644 "$root$units/wcfs@.service"
install -D -m 644 "$here/wcfs.tmpfiles" "$root$prefix/lib/tmpfiles.d/wcfs.conf"

man=$root$prefix/share/man
install -d "$man/man1" "$man/man8"
"$binary" __man "$man/man1"
# The page that is written by hand has date and version of the others.
sed "s|^\.TH .*|$(sed -n 's/^\.TH "WCFS" "1"/.TH "MOUNT.WCFS" "8"/p' "$man/man1/wcfs.1")|" "$here/mount.wcfs.8" > "$man/man8/mount.wcfs.8"
chmod 644 "$man/man8/mount.wcfs.8"

share=$root$prefix/share
install -d "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
"$binary" completion bash > "$share/bash-completion/completions/wcfs"
"$binary" completion zsh > "$share/zsh/site-functions/_wcfs"
"$binary" completion fish > "$share/fish/vendor_completions.d/wcfs.fish"

install -d "$share/wcfs"
install -m 644 "$here/wcfs.dashboard.json" "$here/wcfs.rules.yml" "$here/wcfs.rules.test.yml" "$share/wcfs"

install -d "$share/doc/wcfs"
install -m 644 "$here"/../doc/*.rst "$here/../README.rst" "$here/../LICENSE" "$here/../NOTICE" "$share/doc/wcfs"
