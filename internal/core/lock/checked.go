//go:build invariants

package lock

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/petermattis/goid"
)

// Mutex is a mutex; see the package comment.
type Mutex struct {
	mu     sync.Mutex
	holder atomic.Int64 // id of the goroutine, 0: none
	order  *Order
	rank   Rank
	check  func()
}

// Order is mutexes that are taken in the order of their ranks.
type Order struct{ held sync.Map } // id of a goroutine -> []*Mutex, those that it holds

// Init has m checked. check, which may be nil, panics if what m guards is not as it must
// be; it is called with m held.
func (m *Mutex) Init(order *Order, rank Rank, check func()) {
	m.order, m.rank, m.check = order, rank, check
}

// Lock takes m.
func (m *Mutex) Lock() {
	id := goid.Get()
	if m.holder.Load() == id {
		panic("BUG: lock: a goroutine takes a mutex that it holds")
	}
	if m.order != nil {
		m.order.take(id, m)
	}
	m.mu.Lock()
	m.holder.Store(id)
}

// Unlock gives m back, also if what it guards is not what it must be.
func (m *Mutex) Unlock() {
	m.MustHold()
	defer m.release()
	if m.check != nil {
		m.check()
	}
}

func (m *Mutex) release() {
	if m.order != nil {
		m.order.give(goid.Get(), m)
	}
	m.holder.Store(0)
	m.mu.Unlock()
}

// MustHold says that the goroutine holds m.
func (m *Mutex) MustHold() {
	if m.holder.Load() != goid.Get() {
		panic("BUG: lock: a goroutine touches what is guarded by a mutex that it does not hold")
	}
}

func (o *Order) take(id int64, m *Mutex) {
	held, _ := o.held.Load(id)
	all, _ := held.([]*Mutex)
	for _, other := range all {
		if other.rank >= m.rank {
			panic(fmt.Sprintf("BUG: lock: a mutex of rank %d is taken by who holds one of rank %d", m.rank, other.rank))
		}
	}
	o.held.Store(id, append(slices.Clone(all), m))
}

func (o *Order) give(id int64, m *Mutex) {
	held, _ := o.held.Load(id)
	left := slices.DeleteFunc(slices.Clone(held.([]*Mutex)), func(other *Mutex) bool { return other == m })
	if len(left) == 0 {
		o.held.Delete(id)
		return
	}
	o.held.Store(id, left)
}
