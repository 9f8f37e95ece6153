#!/bin/sh
# Checks what this machine needs. Installs what is missing when it may, and says so
# before; else says what to install. The argument says what for:
#   go      building: Go, and certificates to get modules
#   (none)  mounting, as make demo and make run do
#   test    all tests; with them comes python, a Python for t/witness
#   python  that alone
#   promtool FILE  Prometheus' checker of alerts; without it that test is skipped
#   cc      a C compiler alone
set -u
for=${1:-mount}
here=$(cd "$(dirname "$0")/.." && pwd)
missing=""
need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

# older A B: version A is older than B.
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# need_go requires the Go that go.mod names. An older one of the distribution is never
# installed: it would not do.
need_go() {
	wanted=$(sed -n 's/^go //p' "$here/go.mod")
	go=${GO:-go}
	if ! command -v "$go" >/dev/null 2>&1; then
		packaged=$(LC_ALL=C apt-cache policy golang-go 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p')
		if [ -n "$packaged" ] && ! older "$packaged" "${wanted%.0}"; then
			missing="$missing golang-go"
			return
		fi
		echo "there is no $go in the PATH; Go $wanted or newer is needed: https://go.dev/dl/" >&2
		[ ! -x /usr/local/go/bin/go ] || echo "there is one in /usr/local/go: PATH=\$PATH:/usr/local/go/bin" >&2
		[ -z "$packaged" ] || echo "that of this distribution ($packaged) is too old" >&2
		exit 1
	fi
	have=$(cd / && GOTOOLCHAIN=local GOFLAGS='' "$go" env GOVERSION 2>/dev/null)
	have=${have#go}
	[ -n "$have" ] || have=$("$go" version | sed 's/^go version go\([0-9.]*\).*/\1/') # before Go 1.16
	have=${have%% *}
	older "$have" "$wanted" || return 0
	# From 1.21 on Go gets a newer one itself where it is let.
	toolchain=$(cd / && "$go" env GOTOOLCHAIN 2>/dev/null)
	case $toolchain in
	auto* | *+auto)
		echo "Go $have is too old, so it downloads Go $wanted" >&2
		(cd "$here" && "$go" version >/dev/null) && return 0
		;;
	esac
	echo "Go $wanted or newer is needed, and $(command -v "$go") is $have: get it from https://go.dev/dl/" >&2
	case $have in
	1.2[1-9]*) echo "or let that get it: GOTOOLCHAIN=auto make" >&2 ;;
	esac
	exit 1
}

# need_certificates requires those that Go knows modules by, where Go looks for them
# (crypto/x509/root_linux.go).
need_certificates() {
	[ -z "${SSL_CERT_FILE:-}${SSL_CERT_DIR:-}" ] || return 0
	for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem \
		/etc/pki/tls/cacert.pem /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem /etc/ssl/cert.pem; do
		[ ! -e "$file" ] || return 0
	done
	missing="$missing ca-certificates"
}

# need_cc requires a C compiler that finds the headers of the C library.
need_cc() {
	echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
}

need_mount() {
	if [ "$(id -u)" = 0 ]; then
		need umount mount
	else
		need fusermount3 fuse3
	fi
}

need_python() { python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"; }

# need_postgresql requires a PostgreSQL server, of which tests start their own. Debian has its
# programs outside of the PATH.
need_postgresql() {
	for program in $(command -v initdb) /usr/lib/postgresql/*/bin/initdb; do
		[ ! -x "$program" ] || return 0
	done
	missing="$missing postgresql"
}

# The package postgresql makes and starts a server when it is installed first, which nobody
# here wants. A file for that moment in the directory of its settings keeps it from that, and
# leaves the settings of the host alone.
no_main_cluster=/etc/postgresql-common/createcluster.d/wcfs-setup.conf
without_main_cluster() { # without_main_cluster COMMAND...
	case $missing in *postgresql*) ;; *) "$@"; return ;; esac
	mkdir -p "${no_main_cluster%/*}" && echo "create_main_cluster = false" >$no_main_cluster
	"$@"
	status=$?
	rm -f $no_main_cluster
	rmdir "${no_main_cluster%/*}" 2>/dev/null || true
	return $status
}

# get_promtool gets it out of the package of Prometheus, which is not installed: that would
# start a server.
get_promtool() {
	if ! command -v promtool >/dev/null 2>&1 && [ ! -x "$1" ] && command -v apt-get >/dev/null 2>&1; then
		tmp=$(mktemp -d)
		(cd "$tmp" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && cp usr/bin/promtool "$1") >/dev/null 2>&1
		rm -rf "$tmp"
	fi
	command -v promtool >/dev/null 2>&1 || [ -x "$1" ] || echo "NO PROMTOOL: alerts are not tried" >&2
}

case $for in
promtool)
	get_promtool "$here/$2"
	exit 0
	;;
go)
	need_go
	need_certificates
	;;
mount) need_mount ;;
python) need_python ;;
cc) need_cc ;;
test)
	need_cc
	need_python
	need_postgresql
	need_mount
	if [ "$(id -u)" = 0 ]; then
		need fusermount3 fuse3
		need nsenter util-linux
		need setpriv util-linux
	else
		echo "NOT ROOT: tests that act as a second user, or need mounts of their own, are skipped" >&2
	fi
	;;
esac

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "missing, and so installed now: apt-get install$missing" >&2
		# shellcheck disable=SC2086
		apt-get update -qq && without_main_cluster env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null || exit 1
	else
		echo "missing:$missing; install with: sudo apt-get install$missing" >&2
		exit 1
	fi
fi
case $for in go | python | cc) exit 0 ;; esac

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
