//go:build !race

package isolation

// defaultSchedules is how many random schedules are run.
const defaultSchedules = 1500
