#!/bin/sh
# venv.sh DIR - makes the Python of writer.py in DIR, unless it is there and as
# requirements.txt wants it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if ! cmp -s "$here/requirements.txt" "$1/requirements.txt" || ! "$1/bin/python" -c 'import ZODB' 2>/dev/null; then
	rm -rf "$1"
	python3 -m venv "$1" || {
		echo "python3 with venv and pip is missing; on Debian: sudo apt-get install python3-venv" >&2
		exit 1
	}
	"$1/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps \
		-r "$here/requirements.txt" ||
		"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
	cp "$here/requirements.txt" "$1/requirements.txt"
fi
