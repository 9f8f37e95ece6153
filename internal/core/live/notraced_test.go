//go:build !race

package live

// raced says that the race detector is on, which makes tests slow.
const raced = false

// defaultHistories is how many random histories are run.
const defaultHistories = 1000
