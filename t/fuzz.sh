#!/bin/sh
# fuzz.sh TIME - runs every fuzz target of the project for TIME each.
set -eu
cd "$(dirname "$0")/.."
grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' internal | while IFS=: read -r file _ name; do
	name=${name#func }
	echo "== $(dirname "$file") $name"
	go test -tags invariants -run '^$' -fuzz "^$name\$" -fuzztime "$1" "./$(dirname "$file")"
done
