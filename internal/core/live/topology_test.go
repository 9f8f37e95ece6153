package live

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite/topology"
)

// changed reports whether step i changed block blk.
func (s *story) changed(blk int64, i int) bool {
	now := s.steps[i]
	if i == 0 || now.gone != s.steps[i-1].gone || now.table[blk] != s.steps[i-1].table[blk] {
		return true
	}
	return now.table[blk] != "" && strings.Contains(now.changed, now.table[blk])
}

// rev returns the revision of block blk after step i.
func (s *story) rev(blk int64, i int) zodb.Tid {
	for !s.changed(blk, i) {
		i--
	}
	return s.steps[i].tid
}

// reader follows a story from one of its steps on.
type reader struct {
	ctx  context.Context
	s    *story
	at   int // step
	objs *versions.Objects
	h    *Head
	f    *File
	stop func()
}

func (s *story) read(ctx context.Context, at int) (*reader, error) {
	r := &reader{ctx: ctx, s: s, at: at, objs: versions.NewObjects(ctx, s.db, s.steps[at].tid, 1<<20)}
	r.h, r.stop = newHead(ctx, r.objs, s.db, 0)
	return r, r.open()
}

func (r *reader) open() (err error) {
	if r.f, err = r.h.Open(r.ctx, r.s.file.Oid); err != nil {
		return err
	}
	return r.checkSize()
}

func (r *reader) checkSize() error {
	if want := r.s.size(r.at); r.f.blocks.Size != want {
		return fmt.Errorf("step %d: size %d, is %d", r.at, r.f.blocks.Size, want)
	}
	return nil
}

// serve serves those of blks that set has bits for.
func (r *reader) serve(blks []int64, set uint) error {
	for i, blk := range blks {
		if set>>i&1 == 0 {
			continue
		}
		w, err := r.h.revs.Walk(r.ctx, r.f.Oid, blk, r.f.blocks.View)
		if err != nil {
			return err
		}
		data := zodb.Tid(0)
		if w.OK {
			if data, err = r.s.db.Serial(r.ctx, zodb.Xid{At: r.f.blocks.View, Oid: w.ZBlk}); err != nil {
				return err
			}
		}
		r.f.mu.Lock()
		r.f.serve(blk, w, data)
		r.f.mu.Unlock()
	}
	return nil
}

// next takes in the next step and checks what it is said to change: exactly the
// served blocks that it does.
func (r *reader) next() error {
	served := keysServed(r.f)
	r.at++
	step := r.s.steps[r.at]
	t := r.h.begin(storage.Event{Tid: step.tid, Oids: step.oids})
	if err := t.finish(r.ctx); err != nil {
		return err
	}
	d := t.deltaOf(r.f)
	if step.gone || d != nil && d.fence != nil {
		if d == nil || d.fence == nil || !step.gone {
			return fmt.Errorf("step %d: delta %v; gone: %v", r.at, d, step.gone)
		}
		return nil
	}
	var got, want []int64
	if d != nil {
		got = d.Changed
	}
	for _, blk := range served {
		if r.s.changed(blk, r.at) {
			want = append(want, blk)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("step %d: blocks %v changed, said: %v (served: %v)", r.at, want, got, served)
	}
	return r.checkSize()
}

// check compares revisions of blks at all views from step first on, and what
// changed since these views.
func (r *reader) check(blks []int64, first int) error {
	for i := first; i <= r.at; i++ {
		at := r.s.steps[i].tid
		r.f.mu.Lock()
		since := r.f.blocks.ChangedSince(at)
		r.f.mu.Unlock()
		for _, blk := range blks {
			rev, err := r.f.BlkRevAt(r.ctx, blk, at)
			if err != nil {
				return err
			}
			if want := (versions.Rev{Tid: r.s.rev(blk, i), Exact: true}); rev != want {
				return fmt.Errorf("block %d after step %d: revision %v, is %v", blk, i, rev, want)
			}
			changed := r.s.rev(blk, r.at) > at && r.f.blocks.Has(blk)
			if changed && !slices.Contains(since, blk) {
				return fmt.Errorf("block %d changed after step %d, and is left out", blk, i)
			}
		}
		if i := slices.IndexFunc(since, func(blk int64) bool { return !r.f.blocks.Has(blk) }); i >= 0 {
			return fmt.Errorf("block %d is not served", since[i])
		}
	}
	return nil
}

// blocksOf returns the blocks of tables, one before and one after them, ascending.
func blocksOf(steps []step) []int64 {
	blks := map[int64]bool{0: true}
	last := int64(0)
	for _, s := range steps {
		for blk := range s.table {
			blks[blk] = true
			last = max(last, blk)
		}
	}
	blks[last+1] = true
	return slices.Sorted(maps.Keys(blks))
}

// loadTopologies returns the sequences of the table, each forth and back.
func loadTopologies(t *testing.T) (sequences [][]string) {
	text, err := os.ReadFile("testdata/topologies.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if texts := strings.Fields(line); len(texts) > 0 && texts[0] != "#" {
			back := slices.Clone(texts[:len(texts)-1])
			slices.Reverse(back)
			sequences = append(sequences, append(texts, back...))
		}
	}
	return sequences
}

// TestAllServedSubsetsOverKnownTopologies takes every three neighbouring trees
// of the table, in both directions and with all ways to choose oids, and for
// each subset of their blocks, and of holes next to them, serves it at the first
// tree; and some subset at the second. With the race detector it takes some of
// the subsets.
func TestAllServedSubsetsOverKnownTopologies(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	var cases, trees atomic.Int64
	works := make(chan func())
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for work := range works {
				work()
			}
		})
	}
	for n, texts := range loadTopologies(t) {
		for _, reuse := range []topology.Reuse{topology.Place, topology.Fresh, topology.Shuffle} {
			for i := range len(texts) - 2 {
				works <- func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(n*1000+i)))
					w := topology.Writer{Reuse: reuse, Rnd: rnd, Inline: (n+i)%2 == 0}
					window := texts[i : i+3]
					done, err := runWindow(t.Context(), w, window)
					if err != nil {
						t.Errorf("%q, reuse %v, inline %v: %s", window, reuse, w.Inline, err)
					}
					cases.Add(done)
					trees.Add(1)
				}
			}
		}
	}
	close(works)
	workers.Wait()
	t.Logf("%d served subsets over %d triples of trees", cases.Load(), trees.Load())
}

// runWindow runs all subsets over some trees.
func runWindow(ctx context.Context, w topology.Writer, texts []string) (cases int64, err error) {
	s := newStory(w)
	for _, text := range texts {
		changed := ""
		for _, name := range "abcdefghij" {
			if w.Rnd.Float64() < 0.12 {
				changed += string(name)
			}
		}
		if err := s.tell(text, changed); err != nil {
			return 0, err
		}
	}
	blks := blocksOf(s.steps)
	for set := range uint(1) << len(blks) {
		if (raced || testing.Short()) && w.Rnd.IntN(8) > 0 {
			continue
		}
		if err := runSubset(ctx, s, blks, set, w.Rnd.Uint()&w.Rnd.Uint()); err != nil {
			return cases, fmt.Errorf("of %v served %b: %w", blks, set, err)
		}
		cases++
	}
	return cases, nil
}

// runSubset serves a subset of blks at the first tree, and one at the second.
func runSubset(ctx context.Context, s *story, blks []int64, set, second uint) error {
	const first = 1
	r, err := s.read(ctx, first)
	if err != nil {
		return err
	}
	defer r.objs.Close()
	if err := r.serve(blks, set); err != nil {
		return err
	}
	for r.at < len(s.steps)-1 {
		if err := r.next(); err != nil {
			return err
		}
		if r.at == first+1 {
			if err := r.serve(blks, second); err != nil {
				return err
			}
		}
	}
	return r.check(blks, first)
}

// TestWholeSequencesWithForgottenPast goes through whole sequences of the table,
// serves random blocks on the way, forgets the past and sweeps now and then.
func TestWholeSequencesWithForgottenPast(t *testing.T) {
	const seed = 2
	each := 10
	if raced && testing.Short() {
		each = 3
	}
	t.Logf("seed %d", seed)
	for n, texts := range loadTopologies(t) {
		for k := range 3 * each {
			rnd := rand.New(rand.NewPCG(seed, uint64(n*1000+k)))
			w := topology.Writer{Reuse: topology.Reuse(k / each), Rnd: rnd, Inline: k%2 == 0}
			if err := runSequence(t.Context(), w, texts); err != nil {
				t.Fatalf("%q: %+v, case %d: %s", texts, w.Reuse, k, err)
			}
		}
	}
}

func runSequence(ctx context.Context, w topology.Writer, texts []string) error {
	s := newStory(w)
	for _, text := range texts {
		if err := s.tell(text, string("abcdefghij"[w.Rnd.IntN(10)])); err != nil {
			return err
		}
	}
	blks := blocksOf(s.steps)
	r, err := s.read(ctx, 0)
	if err != nil {
		return err
	}
	defer r.objs.Close()
	first := 0
	for r.at < len(s.steps)-1 {
		if err := r.serve(blks, w.Rnd.Uint()&w.Rnd.Uint()); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return err
		}
		if w.Rnd.IntN(4) == 0 {
			first += w.Rnd.IntN(r.at - first + 1)
			r.objs.Forget(s.steps[first].tid)
		}
		if w.Rnd.IntN(4) == 0 {
			if done, err := r.f.sweep(ctx); !done || err != nil {
				return fmt.Errorf("sweep: %v, %w", done, err)
			}
		}
	}
	return r.check(blks, first)
}
