//go:build !invariants

package lock

import "sync"

// Mutex is a mutex; see the package comment.
type Mutex struct{ sync.Mutex }

// Order is mutexes that are taken in the order of their ranks.
type Order struct{}

// Init has m checked. check, which may be nil, panics if what m guards is not as it must
// be; it is called with m held.
func (m *Mutex) Init(order *Order, rank Rank, check func()) {}

// MustHold says that the goroutine holds m.
func (m *Mutex) MustHold() {}
