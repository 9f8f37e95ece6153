package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func TestQueueGivesEventsInOrderThenItsEndForEver(t *testing.T) {
	q := storage.NewEventQueue()
	end := errors.New("end")
	const n = 1000
	go func() {
		for i := range n {
			q.Put(storage.Event{Tid: zodb.Tid(i)})
		}
		q.End(end)
		q.End(errors.New("another end"))
		q.Put(storage.Event{Tid: n})
	}()
	for i := range n {
		if ev, err := q.Next(t.Context()); err != nil || ev.Tid != zodb.Tid(i) {
			t.Fatalf("event %d: %v, %v", i, ev, err)
		}
	}
	for range 3 {
		if _, err := q.Next(t.Context()); err != end {
			t.Fatalf("after the last event: %v", err)
		}
	}
}

func TestQueueWaitsForEventsOrContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := storage.NewEventQueue()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := make(chan error)
		next := func() {
			_, err := q.Next(ctx)
			got <- err
		}
		go next()
		synctest.Wait()
		select {
		case err := <-got:
			t.Fatalf("returned from an empty queue: %v", err)
		default:
		}
		q.Put(storage.Event{Tid: 1})
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		go next()
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func TestQueueTellsHighWaterAtEachDoubling(t *testing.T) {
	var told []int
	q := storage.NewEventQueue()
	const first = 1 << 16
	for i := range 5 * first {
		q.Put(storage.Event{Tid: zodb.Tid(i)})
		if n := q.Grown(); n > 0 {
			told = append(told, n)
		}
	}
	if len(told) != 3 || told[0] != first || told[1] != 2*first || told[2] != 4*first || q.Len() != 5*first {
		t.Fatalf("told at %v, length %d", told, q.Len())
	}
}
