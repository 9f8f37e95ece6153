#!/bin/sh
# stamp.sh - prints which commit the source beside it is of, as COMMIT:TIME, with a
# + after the commit if files were changed since. It prints nothing if that is not a
# checkout of git of its own: an archive says it itself (internal/serve/release).
# stamp.sh time - prints the time alone, in seconds since 1970, of an archive as well.
set -eu
cd "$(dirname "$0")/.."
# Whose the checkout is does not matter for that.
git() { command git -c safe.directory='*' "$@" 2>/dev/null; }

stamp() {
	[ "$(git rev-parse --show-prefix || echo none)" = "" ] || return 0
	git ls-files --error-unmatch dist/stamp.sh >/dev/null || return 0
	changed=""
	git diff --quiet HEAD -- || changed="+"
	echo "$(git log -1 --format=%H)$changed:$(git log -1 --format=%ct)"
}

if [ "${1:-}" != time ]; then
	stamp
	exit 0
fi
time=$(stamp)
[ -n "$time" ] || time=$(cat internal/serve/release/commit.txt)
time=${time##*:}
case $time in
*[!0-9]*) date -u -d "$(sed -n 's/^const Date = "\(.*\)"/\1/p' internal/serve/release/release.go)" +%s ;;
*) echo "$time" ;;
esac
