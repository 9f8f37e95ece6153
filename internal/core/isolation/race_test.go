//go:build race

package isolation

// defaultSchedules is how many random schedules are run: the race detector is slow.
const defaultSchedules = 75
