#!/bin/sh
# venv.sh DIR REQUIREMENTS - makes a Python with ZEO in DIR, unless it is there and as
# REQUIREMENTS wants it.
set -eu
cmp -s "$2" "$1/requirements.txt" && "$1/bin/python" -c 'import ZEO.StorageServer, msgpack' 2>/dev/null && exit 0
rm -rf "$1"
python3 -m venv "$1" || {
	echo "python3 with venv and pip is missing; on Debian: sudo apt-get install python3-venv" >&2
	exit 1
}
"$1/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --no-compile -r "$2" 2>/dev/null ||
	"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$2" || {
	echo "the packages that $2 names cannot be got from PyPI: is there a network?" >&2
	rm -rf "$1"
	exit 1
}
cp "$2" "$1/requirements.txt"
