#!/bin/sh
# venv.sh DIR [REQUIREMENTS] - makes a Python with ZODB in DIR, unless it is there and as
# REQUIREMENTS wants it: those of writer.py if none are given. Modules are compiled when
# they are imported, which few are.
set -eu
wanted=${2:-$(cd "$(dirname "$0")" && pwd)/requirements.txt}
if ! cmp -s "$wanted" "$1/requirements.txt" || ! "$1/bin/python" -c 'import ZODB' 2>/dev/null; then
	rm -rf "$1"
	python3 -m venv "$1" || {
		echo "python3 with venv and pip is missing; on Debian: sudo apt-get install python3-venv" >&2
		exit 1
	}
	"$1/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --no-compile \
		-r "$wanted" ||
		"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$wanted"
	cp "$wanted" "$1/requirements.txt"
fi
