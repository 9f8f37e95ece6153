//go:build !race

package versions

// raced says that the race detector is on, which makes tests slow.
const raced = false
