#!/bin/sh
# benchcompare.sh OLD - runs the benchmarks of this checkout and of the commit OLD, one
# after the other and again, and prints what became faster and slower (benchstat).
#   COUNT  how often (default 6)
#   BENCH  which benchmarks, a regular expression (default all)
#   PKGS   of which packages (default all)
#   BENCHSTAT  options of benchstat; -ignore pkg compares by the names of benchmarks alone,
#          also across packages that have moved
set -eu
old=${1:?which commit is the old one? make bench-compare OLD=COMMIT}
go=${GO:-go} count=${COUNT:-6} bench=${BENCH:-.}
cd "$(dirname "$0")/.."
here=$PWD
commit=$(git rev-parse --verify "$old^{commit}")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/wcfs-bench-XXXXXX")
stop() {
	git worktree remove --force "$tmp/tree" 2>/dev/null || :
	rm -rf "$tmp"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
git worktree add --quiet --detach "$tmp/tree" "$commit"

# build SIDE DIR: one program per package that has benchmarks, and where it has to run.
build() {
	cd "$2"
	"$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ${PKGS:-./...} | while read -r dir; do
		grep -qs '^func Benchmark' "$dir"/*_test.go || continue
		program=$tmp/$1-$(echo "${dir#"$2"/}" | tr / -)
		"$go" test -c -o "$program" "$dir" >&2
		echo "$program $dir"
	done > "$tmp/$1.programs"
	cd "$here"
}
build new "$here"
build old "$tmp/tree"

# run SIDE: every benchmark once.
run() {
	while read -r program dir; do
		(cd "$dir" && "$program" -test.run '^$' -test.bench "$bench" -test.benchmem) >> "$tmp/$1.txt" || {
			echo "the benchmarks of $1 $dir failed:" >&2
			tail -n 20 "$tmp/$1.txt" >&2
			exit 1
		}
	done < "$tmp/$1.programs"
}
for round in $(seq "$count"); do
	echo "round $round of $count" >&2
	run old
	run new
done
"$go" tool benchstat ${BENCHSTAT:-} "old=$tmp/old.txt" "new=$tmp/new.txt"
