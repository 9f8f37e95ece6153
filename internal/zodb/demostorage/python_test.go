package demostorage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// python is a DemoStorage of ZODB.
type python struct {
	t   *testing.T
	dir string
	in  io.Writer
	out *bufio.Scanner
}

func newPython(t *testing.T, seed int) *python {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3, which the real DemoStorage needs; on Debian: sudo apt-get install python3-venv")
	}
	venv, err := filepath.Abs("../../../bin/venv")
	require.NoError(t, err)
	out, err := exec.Command("../../../t/witness/venv.sh", venv).CombinedOutput()
	require.NoError(t, err, "make a Python with ZODB: %s", out)

	p := &python{t: t, dir: t.TempDir()}
	cmd := exec.Command(filepath.Join(venv, "bin/python"), "testdata/demo.py", p.dir, fmt.Sprint(seed))
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	hung := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		hung.Stop()
		if t.Failed() {
			t.Logf("python: %s", stderr)
		}
	})
	p.in, p.out = in, bufio.NewScanner(stdout)
	p.out.Buffer(nil, 64<<20)
	require.Equal(t, "ready", p.line())
	return p
}

func (p *python) line() string {
	p.t.Helper()
	require.True(p.t, p.out.Scan(), "python has ended")
	return p.out.Text()
}

func (p *python) commit() zodb.Tid {
	p.t.Helper()
	_, err := io.WriteString(p.in, "commit\n")
	require.NoError(p.t, err)
	return tidOf(p.t, p.line())
}

func tidOf(t *testing.T, text string) zodb.Tid {
	id, ok := storage.ParseID(text)
	require.True(t, ok, text)
	return zodb.Tid(id)
}

// shown is what an object is as of views, ascending.
type shown struct {
	Oid  string
	Seen [][4]*string // view, serial, data, why there is none
}

func (p *python) tell() (all []shown) {
	_, err := io.WriteString(p.in, "tell\n")
	require.NoError(p.t, err)
	for line := p.line(); line != ""; line = p.line() {
		var one shown
		require.NoError(p.t, json.Unmarshal([]byte(line), &one))
		all = append(all, one)
	}
	return all
}

// TestShowsWhatDemoStorageShows compares every object at every view with what ZODB's own
// DemoStorage shows of a random history, which goes on meanwhile.
func TestShowsWhatDemoStorageShows(t *testing.T) {
	n := 8
	if testing.Short() {
		n = 3
	}
	for range n {
		seed := rand.IntN(1 << 30)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPython(t, seed)
			for range seed % 30 {
				p.commit()
			}
			w := newWorld(t)
			s, at0 := w.open(t, "demo:(file://"+p.dir+"/base.fs)/(file://"+p.dir+"/delta.fs)")
			defer s.Close()
			frozen := headOf(t, w, "file://"+p.dir+"/base.fs")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			changed := make(map[zodb.Oid][]zodb.Tid) // by the delta
			require.NoError(t, s.(storage.Iterator).Iterate(ctx, frozen+1, at0, func(txn *storage.Txn) error {
				for _, oid := range txn.Oids {
					changed[oid] = append(changed[oid], txn.Tid)
				}
				return nil
			}))
			for range 30 {
				tid := p.commit()
				ev, err := s.NextEvent(ctx)
				require.NoError(t, err)
				require.Equal(t, tid, ev.Tid)
				for _, oid := range ev.Oids {
					changed[oid] = append(changed[oid], tid)
				}
			}
			all, restored := p.tell(), 0
			for _, one := range all {
				oid := zodb.Oid(tidOf(t, one.Oid))
				for _, seen := range one.Seen {
					restored += checkSeen(t, s, frozen, changed[oid], oid, seen)
				}
			}
			t.Logf("%d transactions; %d views of objects of the base show again", len(all[0].Seen)/2, restored)
		})
	}
}

// headOf returns the head of a database.
func headOf(t *testing.T, w *world, zurl string) zodb.Tid {
	s, at0 := w.open(t, zurl)
	require.NoError(t, s.Close())
	return at0
}

// checkSeen checks one object at one view. changed are the transactions of the delta that
// changed it. It returns 1 if the object has become again what it was in the base: then
// Python gives the serial of the base.
func checkSeen(t *testing.T, s storage.Storage, frozen zodb.Tid, changed []zodb.Tid, oid zodb.Oid, seen [4]*string) (restored int) {
	t.Helper()
	at := tidOf(t, *seen[0])
	buf, serial, err := s.Load(t.Context(), zodb.Xid{At: at, Oid: oid})
	if seen[2] == nil {
		require.True(t, storage.IsNoData(err), "%s @%s is not there (%s): serial %s, %v; base up to @%s, changed %s", oid, at, *seen[3], serial, err, frozen, changed)
		return 0
	}
	require.NoError(t, err, "%s @%s", oid, at)
	defer buf.Release()
	want := tidOf(t, *seen[1])
	var data []byte
	require.NoError(t, json.Unmarshal([]byte(`"`+*seen[2]+`"`), &data))
	require.True(t, string(data) == string(buf.Data), "%s @%s: other data", oid, at)
	newest := slices.IndexFunc(changed, func(tid zodb.Tid) bool { return tid > at })
	if newest < 0 {
		newest = len(changed)
	}
	if newest == 0 || want > frozen {
		require.Equal(t, want, serial, "%s @%s", oid, at)
		return 0
	}
	require.Equal(t, changed[newest-1], serial, "%s @%s is again as in the base", oid, at)
	return 1
}
