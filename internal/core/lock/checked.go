//go:build invariants

package lock

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	id := goroutine()
	if m.holder.Load() == id {
		panic("BUG: lock: a goroutine takes a mutex that it holds")
	}
	if m.order != nil {
		m.order.take(id, m)
	}
	m.mu.Lock()
	m.holder.Store(id)
}

// Unlock gives m back, which is what it must be.
func (m *Mutex) Unlock() {
	m.MustHold()
	if m.check != nil {
		m.check()
	}
	if m.order != nil {
		m.order.give(goroutine(), m)
	}
	m.holder.Store(0)
	m.mu.Unlock()
}

// MustHold says that the goroutine holds m.
func (m *Mutex) MustHold() {
	if m.holder.Load() != goroutine() {
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

// goroutine returns the id of the goroutine that calls, which the first line of its
// stack tells: "goroutine 7 [running]:".
func goroutine() int64 {
	var buf [64]byte
	line := buf[:runtime.Stack(buf[:], false)]
	word := bytes.Fields(line)[1]
	id, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("BUG: lock: unexpected stack %q", line))
	}
	return id
}
