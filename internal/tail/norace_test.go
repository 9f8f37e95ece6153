//go:build !race

package tail

// defaultHistories is how many random histories are run.
const defaultHistories = 6000
