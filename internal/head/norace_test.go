//go:build !race

package head_test

// defaultSchedules is how many random schedules are run.
const defaultSchedules = 5000
