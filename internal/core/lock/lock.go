// Package lock has the mutexes of the core.
//
// A Mutex is a sync.Mutex. Built with the tag invariants, as all tests are, it also
// knows which goroutine holds it, and panics
//
//   - where MustHold says that the goroutine holds it, and it does not;
//   - when a goroutine takes two mutexes of one Order against their ranks;
//   - when what a mutex guards is not as it must be at the moment it is unlocked.
//
// The owner of a Mutex says by Init what is to be checked. Without the tag nothing is
// kept, and nothing costs anything.
package lock

// Rank is the place of a Mutex in its Order: a goroutine that holds one takes only
// mutexes of a higher rank.
type Rank int
