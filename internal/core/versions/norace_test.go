//go:build !race

package versions

// defaultHistories is how many random histories are run.
const defaultHistories = 6000
