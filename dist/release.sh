#!/bin/sh
# release.sh VERSION DIR: makes in DIR what is published of a version: the source as a
# tarball, a Debian package that is built from just that, and their checksums. The
# same commit gives the same files, with the same Go and the same tools.
set -eu
version=$1 out=$2
cd "$(dirname "$0")/.."
stamp=$(dist/stamp.sh)
case $stamp in
"") echo "make release needs a checkout of git; in a tarball there is make deb" >&2; exit 1 ;;
*+:*) echo "make release: files were changed since the last commit; commit or stash them" >&2; exit 1 ;;
esac

name=wcfs-$version
rm -rf "$out"
mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
git -c safe.directory='*' -c tar.umask=0022 archive --format=tar --prefix="$name/" HEAD > "$tmp/$name.tar"
gzip -9 -n < "$tmp/$name.tar" > "$out/$name.tar.gz"
tar -C "$tmp" -xf "$tmp/$name.tar"
${MAKE:-make} -C "$tmp/$name" --no-print-directory deb
cp "$tmp/$name"/bin/*.deb "$out"
(cd "$out" && sha256sum *.tar.gz *.deb) > "$tmp/SHA256SUMS"
cp "$tmp/SHA256SUMS" "$out"
echo "$out has version $version of commit ${stamp%:*}:"
ls -l "$out"
