//go:build invariants

package lock

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	outer Rank = iota
	inner
)

func TestOnlyWhoHoldsAMutexHoldsIt(t *testing.T) {
	var m Mutex
	require.Panics(t, m.MustHold)
	require.Panics(t, m.Unlock)
	m.Lock()
	m.MustHold()
	require.Panics(t, m.Lock, "for ever")
	var other sync.WaitGroup
	other.Go(func() { require.Panics(t, m.MustHold) })
	other.Wait()
	m.Unlock()
	require.Panics(t, m.MustHold)
}

func TestMutexesAreTakenInOrder(t *testing.T) {
	var order Order
	var a, b, c Mutex
	a.Init(&order, outer, nil)
	b.Init(&order, inner, nil)
	c.Init(&order, inner, nil)
	a.Lock()
	b.Lock()
	require.Panics(t, c.Lock, "nobody says which of two comes first")
	a.Unlock() // any order will do
	b.Unlock()
	b.Lock()
	require.Panics(t, a.Lock)
	var other sync.WaitGroup
	other.Go(func() {
		a.Lock()
		a.Unlock()
	})
	other.Wait()
	b.Unlock()
	a.Lock()
	a.Unlock()
}

func TestWhatIsGuardedIsCheckedAtUnlock(t *testing.T) {
	var m Mutex
	n := 0
	m.Init(nil, 0, func() {
		m.MustHold()
		if n != 0 {
			panic("not as it must be")
		}
	})
	m.Lock()
	m.Unlock()
	m.Lock()
	n = 1
	require.Panics(t, m.Unlock)
}
