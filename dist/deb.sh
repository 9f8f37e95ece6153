#!/bin/sh
# deb.sh DESTDIR VERSION OUT: makes a Debian package of what `make install
# DESTDIR=...` has put below DESTDIR.
set -eu
root=$1 version=$2 out=$3
arch=$(dpkg --print-architecture)
size=$(du -sk "$root" | cut -f1)
mkdir -p "$root/DEBIAN"
cat > "$root/DEBIAN/control" <<END
Package: wcfs
Version: $version
Architecture: $arch
Maintainer: wcfs developers <wcfs@localhost>
Installed-Size: $size
Recommends: fuse3
Section: science
Priority: optional
Description: serves the big arrays of a ZODB database as files
 wcfs mounts a ZODB database as a filesystem. Every big array (ZBigFile) in it
 is a plain file, as of now and as of any past transaction, that programs can
 map into memory. All processes share one page cache, and each of them may see
 an unchanging snapshot while others commit.
END
cat > "$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemd-tmpfiles --create wcfs.conf || true
fi
END
chmod 755 "$root/DEBIAN/postinst"
dpkg-deb --root-owner-group --build "$root" "$out"
