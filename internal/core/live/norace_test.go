//go:build !race

package live_test

// defaultSchedules is how many random schedules are run.
const defaultSchedules = 600
