#!/bin/sh
# lib.sh DIR: builds libwcfs in DIR, as a shared and as a static library, with ${CC:-gcc}.
set -eu
out=$1
here=$(cd "$(dirname "$0")/.." && pwd)
cc=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for source in "$here"/client/c/*.c; do
	# The same source gives the same library, wherever it is.
	"$cc" -std=c11 -D_GNU_SOURCE -O2 -fPIC -pthread -Wall -Wextra ${CFLAGS:-} \
		"-ffile-prefix-map=$here=." -c -o "$tmp/$(basename "$source" .c).o" "$source"
done
mkdir -p "$out"
rm -f "$out/libwcfs.a"
ar rcD "$out/libwcfs.a" "$tmp"/*.o
"$cc" -shared -pthread -Wl,-z,now -Wl,-soname,libwcfs.so.0 -Wl,--version-script="$here/client/c/libwcfs.map" \
	${LDFLAGS:-} -o "$out/libwcfs.so.0" "$tmp"/*.o
ln -sf libwcfs.so.0 "$out/libwcfs.so"
