//go:build race

package versions

// defaultHistories is how many random histories are run: the race detector is slow.
const defaultHistories = 2000
