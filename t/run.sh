#!/bin/sh
# run.sh WCFS DATABASE - serves a copy of a sample database and says what to try.
set -eu
wcfs=$1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/wcfs-run-XXXXXX")
mnt=$tmp/mnt
mkdir "$mnt"
cp "$2" "$tmp/data.fs"

"$wcfs" serve "$tmp/data.fs" "$mnt" &
server=$!
stop() { kill -INT $server 2>/dev/null || :; }
trap stop INT TERM HUP
until [ -s "$mnt/.wcfs/zurl" ] 2>/dev/null || ! kill -0 $server 2>/dev/null; do sleep 0.05; done

if kill -0 $server 2>/dev/null; then
	file=0000000000000008
	cat <<EOF

The sample database is mounted on $mnt. Try in another terminal:

  cat $mnt/head/at                                  # the newest transaction
  ls -l $mnt/head/bigfile/$file                # an array of 5 blocks of 8 KiB
  head -c 64 $mnt/head/bigfile/$file | od -A d -t x1z

Ctrl-C stops.
EOF
fi
status=0
wait $server || status=$?
# A signal ends wait before the server has ended.
while kill -0 $server 2>/dev/null; do wait $server && status=0 || status=$?; done
rmdir "$mnt" 2>/dev/null || :
rm -rf "$tmp/data.fs"
rmdir "$tmp" 2>/dev/null || :
exit $status
