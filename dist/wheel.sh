#!/bin/sh
# wheel.sh DIR: builds the wheel of the Python package in DIR. The files that setuptools
# writes beside its sources are written beside a copy of them.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp -r "$here/client" "$tmp"
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps -w "$out" "$tmp/client/python"
ls "$out"/wcfs-*.whl
