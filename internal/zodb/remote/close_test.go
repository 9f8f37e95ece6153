package remote

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestCloseIsTheEndAtEveryMoment(t *testing.T) {
	hang := func(r *rig, at string) {
		set(&r.sv.calling, func(s *session, op string) error {
			if op == at {
				<-s.done
			}
			return nil
		})
	}
	moments := map[string]func(r *rig){
		"idle":    func(r *rig) {},
		"pausing": func(r *rig) { r.leave() },
		"dialing": func(r *rig) {
			set(&r.sv.dialing, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			r.sv.breakAll(errReset)
		},
		// Dial may succeed although its context has ended.
		"connecting": func(r *rig) {
			set(&r.sv.dialing, func(ctx context.Context) error { <-ctx.Done(); return nil })
			r.sv.breakAll(errReset)
		},
		"missed": func(r *rig) {
			r.leave()
			r.sv.commit(30, 1)
			hangInContext(r, "transactions")
			r.comeBack()
		},
		"completing": func(r *rig) {
			set(&r.sv.listed, func([]zodb.Oid) []zodb.Oid { return nil })
			hangInContext(r, "transactions")
			r.sv.commit(30, 1)
		},
		"loading": func(r *rig) { hang(r, "load") },
		"syncing": func(r *rig) { r.sv.forge(30) },
		"down":    func(r *rig) { r.sv.replace(storagetest.NewModel(), 5) },
	}
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) { closeAt(t, r, name, moment) })
		})
	}
}

// closeAt closes a storage while calls are under way.
func closeAt(t *testing.T, r *rig, name string, moment func(r *rig)) {
	r.open()
	time.Sleep(time.Minute)
	moment(r)
	synctest.Wait()
	began := time.Now()
	var g sync.WaitGroup
	for _, call := range []func() error{
		func() error { _, err := r.load(20, 1); return err },
		func() error { _, err := r.s.Sync(r.Context()); return err },
	} {
		g.Go(func() {
			var down *storage.DownError
			if err := call(); err != nil && !errors.Is(err, storage.ErrClosed) && !errors.As(err, &down) {
				t.Errorf("a call during close: %v", err)
			}
			if err := call(); !errors.Is(err, storage.ErrClosed) && !errors.As(err, &down) && name != "idle" && err != nil {
				t.Errorf("a call after that: %v", err)
			}
		})
	}
	synctest.Wait()
	for range 3 {
		g.Go(func() {
			if err := r.s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			r.sv.mu.Lock()
			defer r.sv.mu.Unlock()
			if len(r.sv.sessions) > 0 {
				t.Error("a session is left")
			}
		})
	}
	g.Wait()
	if took := time.Since(began); took != 0 {
		t.Errorf("took %s", took)
	}
	if _, err := r.load(20, 1); err != storage.ErrClosed {
		t.Errorf("load after close: %v", err)
	}
	if _, err := r.s.NextEvent(r.Context()); err != io.EOF && name != "down" {
		t.Errorf("next event after close: %v", err)
	}
}

// hangInContext has a call of a session take until its context or the session ends.
func hangInContext(r *rig, at string) {
	set(&r.sv.calling, func(s *session, op string) error {
		if op == at {
			select {
			case <-s.done:
			case <-r.s.ctx.Done():
			}
		}
		return nil
	})
}
