//go:build race

package head_test

// defaultSchedules is how many random schedules are run: the race detector is slow.
const defaultSchedules = 1000
