//go:build race

package live_test

// defaultSchedules is how many random schedules are run: the race detector is slow.
const defaultSchedules = 100
