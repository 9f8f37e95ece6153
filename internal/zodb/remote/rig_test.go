package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const timeout = 30 * time.Second

// rig is a storage over a fake server in a bubble.
type rig struct {
	*testing.T
	sv *server
	s  *Storage

	mu  sync.Mutex
	log []string // guarded by mu
}

// inBubble runs test in a bubble, which fails if a goroutine is left.
func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, sv: newServer()}
		r.sv.commit(10, 1, 2)
		r.sv.commit(20, 2)
		t.Cleanup(func() {
			if r.s == nil {
				return
			}
			if err := r.s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		test(r)
	})
}

func (r *rig) open() {
	r.Helper()
	s, at0, err := Open(r.Context(), Config{URL: "fake://db", Dial: r.sv.dial, Timeout: timeout, Options: storage.Options{Warnf: r.warn}})
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
	if at0 != r.sv.last || s.Head() < at0 {
		r.Fatalf("opened at %s, head %s; want %s", at0, s.Head(), r.sv.last)
	}
}

func (r *rig) warn(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// refuse has attempts to connect fail with err, nil: succeed.
func (r *rig) refuse(err error) {
	set(&r.sv.dialing, func(context.Context) error { return err })
}

// leave has the server be away.
func (r *rig) leave() {
	r.refuse(errRefused)
	r.sv.breakAll(errReset)
	synctest.Wait()
}

// comeBack has the server be there again, and waits until the storage knows.
func (r *rig) comeBack() {
	r.refuse(nil)
	time.Sleep(2 * redialEvery)
	synctest.Wait()
}

var (
	errReset   = errors.New("connection reset")
	errRefused = errors.New("connection refused")
)

// conn returns what the storage uses.
func (r *rig) conn() *conn {
	synctest.Wait()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.conn
}

// wantEvents reads the events that are there.
func (r *rig) wantEvents(want ...string) {
	r.Helper()
	synctest.Wait()
	var got []string
	for range r.s.queue.Len() {
		ev, err := r.s.NextEvent(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d:%d", ev.Tid, ev.Oids))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Fatalf("events %v; want %v", got, want)
	}
}

// wantDown checks that the storage is down for a reason of type E, in all that it does.
func wantDown[E error](r *rig) (why E) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	_, errEvent := r.s.NextEvent(ctx)
	_, errSync := r.s.Sync(ctx)
	_, _, errLoad := r.s.Load(ctx, zodb.Xid{At: 10, Oid: 1})
	reach := r.s.Reach()
	if reach.Up {
		r.Fatal("is up")
	}
	for _, err := range []error{errEvent, errSync, errLoad, reach.Err} {
		var down *storage.DownError
		if !errors.As(err, &down) || !errors.As(err, &why) {
			r.Fatalf("failed with %v; want a DownError because of a %T", err, why)
		}
	}
	return why
}

func (r *rig) load(at zodb.Tid, oid zodb.Oid) (string, error) {
	buf, serial, err := r.s.Load(r.Context(), zodb.Xid{At: at, Oid: oid})
	if err != nil {
		return "", err
	}
	defer buf.Release()
	if want := fmt.Sprintf("%s of %s", oid, serial); string(buf.Data) != want {
		r.Errorf("load: %q; want %q", buf.Data, want)
	}
	return serial.String(), nil
}

func (r *rig) mustLoad(at zodb.Tid, oid zodb.Oid, serial zodb.Tid) {
	r.Helper()
	if got, err := r.load(at, oid); err != nil || got != serial.String() {
		r.Fatalf("load of %s @%s: serial %s, %v; want %s", oid, at, got, err, serial)
	}
}

func (r *rig) wantAway(err error) *storage.AwayError {
	r.Helper()
	var away *storage.AwayError
	if !errors.As(err, &away) {
		r.Fatalf("%v; want an AwayError", err)
	}
	return away
}
