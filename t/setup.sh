#!/bin/sh
# Checks what wcfs needs to be built and run on this machine. Installs what is
# missing when it may, else says what to install. With the argument "python" this
# includes what the witness needs (t/witness), with "test" what all other tests need.
set -u
missing=""
need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need go golang
need gcc gcc
[ "${1:-}" != python ] || python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ "$(id -u)" = 0 ] || need fusermount3 fuse3
[ "$(id -u)" = 0 ] && need umount mount
if [ "${1:-}" = test ]; then
	if [ "$(id -u)" = 0 ]; then
		need fusermount3 fuse3
		need nsenter util-linux
		need setpriv util-linux
	else
		echo "NOT ROOT: tests that act as a second user, or need mounts of their own, are skipped" >&2
	fi
fi

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "installing:$missing"
		# shellcheck disable=SC2086
		apt-get update -qq && apt-get install -y -qq $missing >/dev/null || exit 1
	else
		echo "missing:$missing; install with: sudo apt-get install$missing" >&2
		exit 1
	fi
fi
if [ ! -e /dev/fuse ]; then
	[ "$(id -u)" = 0 ] && modprobe fuse 2>/dev/null
	[ -e /dev/fuse ] || {
		echo "there is no /dev/fuse: load the module (sudo modprobe fuse), or give the container --device /dev/fuse" >&2
		exit 1
	}
fi
if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
	echo "no permission to open /dev/fuse: check its mode (usually crw-rw-rw-)" >&2
	exit 1
fi
