#!/bin/sh
# deb.sh BINARY DIR: makes in DIR a Debian package of what `make install` would install,
# and libwcfs-dev of the library, which is in DIR, if it is. The same source gives the same
# packages.
set -eu
binary=$1 out=$2
here=$(dirname "$0")
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=$("$here/stamp.sh" time)
export SOURCE_DATE_EPOCH

version=$("$binary" --version | sed -n '1s/^wcfs //p')
stamp=$("$here/stamp.sh")
# Between two versions the commit is part of the number.
if [ -n "$stamp" ] && [ "$(git -C "$here" -c safe.directory='*' describe --tags --exact-match --dirty 2>/dev/null)" != "v$version" ]; then
	version=$version+git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).$(echo "$stamp" | cut -c1-7)
fi

root=$(mktemp -d)/root
mkdir "$root"
trap 'rm -rf "$(dirname "$root")"' EXIT
chmod 755 "$root"
"$here/install.sh" "$binary" "$root" /usr /usr/sbin /usr/lib/systemd/system
size=$(du -sk --apparent-size "$root" | cut -f1)
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
dpkg-deb -Zgzip --root-owner-group --build "$root" "$out/wcfs_${version}_$arch.deb"

[ -e "$out/libwcfs.so.0" ] || exit 0
multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
rm -rf "$root"
install -d "$root/usr/lib/$multiarch/pkgconfig" "$root/usr/include" "$root/usr/share/doc/libwcfs-dev" "$root/DEBIAN"
install -m 644 "$out/libwcfs.so.0" "$out/libwcfs.a" "$root/usr/lib/$multiarch"
ln -s libwcfs.so.0 "$root/usr/lib/$multiarch/libwcfs.so"
install -m 644 "$here/../client/c/wcfs.h" "$root/usr/include"
install -m 644 "$here/../LICENSE" "$root/usr/share/doc/libwcfs-dev/copyright"
cat > "$root/usr/lib/$multiarch/pkgconfig/wcfs.pc" <<END
Name: libwcfs
Description: snapshots of the arrays of a ZODB database
Version: $version
Libs: -L/usr/lib/$multiarch -lwcfs
Libs.private: -pthread
Cflags: -I/usr/include
END
cat > "$root/DEBIAN/control" <<END
Package: libwcfs-dev
Version: $version
Architecture: $arch
Maintainer: wcfs developers <wcfs@localhost>
Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)
Depends: libc6 (>= 2.34)
Recommends: wcfs
Section: libdevel
Priority: optional
Description: snapshots of the arrays of a ZODB database, for programs in C
 The library, its header and a static library. A program maps arrays of a database
 that wcfs has mounted, and sees one unchanging state of them while others commit.
END
printf 'activate-noawait ldconfig\n' > "$root/DEBIAN/triggers"
dpkg-deb -Zgzip --root-owner-group --build "$root" "$out/libwcfs-dev_${version}_$arch.deb"
