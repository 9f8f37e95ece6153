package live

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	tbtree "github.com/tidwall/btree"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var errNoRevision = errors.New("no revision")

// kept is what the model knows of a block that was added.
type kept struct {
	blk, size         int64
	rev, bound, until zodb.Tid // bound is what is known of rev at first
	oid               zodb.Oid
	damaged           bool // rev cannot be found
	born              time.Time
	asked             int // how often rev was asked for
	mark              byte
	buf               *storage.Buf
	gone              bool
}

// BlkRevAt tells the revision; kept is the owner of its block.
func (k *kept) BlkRevAt(_ context.Context, blk int64, at zodb.Tid) (versions.Rev, error) {
	k.asked++
	if blk != k.blk || at != k.until {
		panic(fmt.Sprintf("asked for #%d @%d, not #%d @%d", blk, at, k.blk, k.until))
	}
	if k.damaged {
		return versions.Rev{}, errNoRevision
	}
	return versions.Rev{Tid: k.rev, Exact: true}, nil
}

// brute is Preserved by going through all that there is.
type brute struct {
	*Preserved
	all  []*kept // in the order they were added
	seen map[[2]uint64]map[*kept]bool
	seqs map[[2]uint64]uint64
	last map[[2]uint64]zodb.Tid // when a block of a file changed last
	tid  zodb.Tid
	time time.Time
}

func newBrute(budget int64) *brute {
	b := &brute{Preserved: newPreserved(budget), seen: make(map[[2]uint64]map[*kept]bool),
		seqs: make(map[[2]uint64]uint64), last: make(map[[2]uint64]zodb.Tid), tid: 10}
	b.now = func() time.Time { return b.time }
	return b
}

// change makes a block change at the next transaction, and keeps what it was.
func (b *brute) change(t *rapid.T, oid zodb.Oid, blk int64) {
	key := [2]uint64{uint64(oid), uint64(blk)}
	rev := b.last[key]
	until := b.tid + zodb.Tid(rapid.IntRange(0, 3).Draw(t, "later"))
	b.tid = until + 1
	b.last[key] = b.tid
	if rapid.IntRange(0, 4).Draw(t, "cached") == 0 {
		return
	}
	k := &kept{oid: oid, blk: blk, rev: rev, bound: rev, until: until, born: b.time,
		size: int64(rapid.IntRange(1, 40).Draw(t, "size")), mark: byte(len(b.all) + 1)}
	exact := rapid.Bool().Draw(t, "exact")
	if !exact {
		k.bound += zodb.Tid(rapid.IntRange(0, int(until-rev)).Draw(t, "bound"))
		k.damaged = rapid.IntRange(0, 7).Draw(t, "damaged") == 0
	}
	k.buf = storage.NewBuf(int(k.size))
	for i := range k.buf.Data {
		k.buf.Data[i] = k.mark
	}
	b.all = append(b.all, k)
	b.add(&Old{Oid: oid, Blk: blk, From: k.bound, Until: until, settled: exact, buf: k.buf, owner: k})
	for b.sum() > b.budget {
		b.there()[0].gone = true
	}
}

// there returns what is still kept.
func (b *brute) there() (left []*kept) {
	for _, k := range b.all {
		if !k.gone {
			left = append(left, k)
		}
	}
	return left
}

func (b *brute) sum() (n int64) {
	for _, k := range b.there() {
		n += k.size
	}
	return n
}

// is reports whether buf is the content of k, and releases it.
func (k *kept) is(buf *storage.Buf) bool {
	defer buf.Release()
	return int64(len(buf.Data)) == k.size && buf.Data[0] == k.mark && buf.Data[k.size-1] == k.mark
}

func (b *brute) checkBlock(t *rapid.T, oid zodb.Oid, blk int64, at zodb.Tid) {
	var want *kept
	for _, k := range b.there() {
		since := k.rev
		if k.damaged {
			since = k.bound
		}
		if k.oid == oid && k.blk == blk && since <= at && at <= k.until {
			want = k
		}
	}
	got := b.Block(context.Background(), oid, blk, at)
	if (got != nil) != (want != nil) || got != nil && !want.is(got) {
		t.Fatalf("block %d of %d @%d: content %v; want %+v", blk, oid, at, got != nil, want)
	}
}

// checkView asks for what came up of a revision since the last time.
func (b *brute) checkView(t *rapid.T, oid zodb.Oid, at zodb.Tid) {
	for b.Settle(context.Background(), oid, at) != nil { // one that is damaged must not hide the others for good
	}
	key := [2]uint64{uint64(oid), uint64(at)}
	if b.seen[key] == nil {
		b.seen[key] = make(map[*kept]bool)
	}
	var want []*kept
	for _, k := range b.there() {
		if k.oid == oid && k.rev == at && !k.damaged && !b.seen[key][k] {
			want = append(want, k)
		}
	}
	for range want {
		blk, buf, next := b.Next(oid, at, b.seqs[key])
		var found *kept
		for _, k := range want {
			if buf != nil && k.blk == blk && k.mark == buf.Data[0] && !b.seen[key][k] {
				found = k
			}
		}
		if found == nil || !found.is(buf) || next <= b.seqs[key] {
			t.Fatalf("revision %d of %d: got block %d (%v), seq %d after %d", at, oid, blk, buf != nil, next, b.seqs[key])
		}
		b.seen[key][found], b.seqs[key] = true, next
	}
	if blk, buf, next := b.Next(oid, at, b.seqs[key]); buf != nil || next != b.seqs[key] {
		t.Fatalf("revision %d of %d: block %d as well, seq %d", at, oid, blk, next)
	}
}

// TestPreservedIsWhatWasAddedAndNotDropped compares random additions, expiry and
// questions with going through all that there is.
func TestPreservedIsWhatWasAddedAndNotDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBrute(int64(rapid.SampledFrom([]int{0, 100, 100_000}).Draw(t, "budget")))
		file := rapid.Custom(func(t *rapid.T) zodb.Oid { return zodb.Oid(rapid.IntRange(1, 2).Draw(t, "oid")) })
		blk := rapid.Int64Range(0, 4)
		view := func(t *rapid.T) zodb.Tid { return zodb.Tid(rapid.IntRange(0, int(b.tid)).Draw(t, "at")) }
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) { b.change(t, file.Draw(t, "file"), blk.Draw(t, "blk")) },
			"block":  func(t *rapid.T) { b.checkBlock(t, file.Draw(t, "file"), blk.Draw(t, "blk"), view(t)) },
			"view":   func(t *rapid.T) { b.checkView(t, file.Draw(t, "file"), view(t)) },
			"seen": func(t *rapid.T) { // at a revision that there is
				if left := b.there(); len(left) > 0 {
					k := rapid.SampledFrom(left).Draw(t, "kept")
					b.checkView(t, k.oid, k.rev)
					b.checkBlock(t, k.oid, k.blk, k.until)
				}
			},
			"expire": func(t *rapid.T) { b.checkExpire(t, view(t)/2) },
			"": func(t *rapid.T) {
				if b.Bytes() != b.sum() {
					t.Fatalf("%d bytes; want %d", b.Bytes(), b.sum())
				}
				for _, k := range b.all {
					if k.asked > 1 {
						t.Fatalf("a revision was asked for %d times", k.asked)
					}
				}
			},
		})
		b.checkEmpty(t)
	})
}

// checkExpire lets time pass and drops what is old.
func (b *brute) checkExpire(t *rapid.T, cut zodb.Tid) {
	const age = 10 * time.Second
	b.time = b.time.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "passed")) * time.Second)
	limit := time.Duration(rapid.IntRange(0, 1).Draw(t, "limited")) * age
	n := rapid.IntRange(1, 5).Draw(t, "n")
	want, left := 0, time.Duration(0)
	for _, k := range b.there() {
		tooOld := limit > 0 && b.time.Sub(k.born) >= limit
		if k.until >= cut && !tooOld {
			left = max(0, limit-b.time.Sub(k.born))
			break
		}
		if want == n {
			break
		}
		k.gone = true
		want++
	}
	dropped, next := b.expire(cut, limit, n)
	if dropped != want || want < n && next != left {
		t.Fatalf("dropped %d, the next in %s; want %d, %s", dropped, next, want, left)
	}
}

// checkEmpty requires that nothing is left in any index when all is dropped.
func (b *brute) checkEmpty(t *rapid.T) {
	b.expire(zodb.InvalidTid, 0, len(b.all)+1)
	if n := b.byBlk.Len() + b.byRev.Len() + b.unsettled.Len() + b.order.Len() + b.news.Len(); n+int(b.Bytes()) != 0 {
		t.Fatalf("%d are left, %d bytes", n, b.Bytes())
	}
}

// counted makes an index count how many entries are looked at.
func counted(count *int, less func(a, b *Old) bool) *tbtree.BTreeG[*Old] {
	return tbtree.NewBTreeGOptions(func(a, b *Old) bool {
		*count++
		return less(a, b)
	}, tbtree.Options{NoLocks: true})
}

// TestCostIsThatOfTheAnswer keeps more and more blocks, of more and more revisions
// that were asked for, and counts what adding, reading and storing of one looks at.
func TestCostIsThatOfTheAnswer(t *testing.T) {
	cost := func(n int) (looked, asked int) {
		p := newPreserved(int64(n)) // what is beyond is dropped meanwhile
		p.byBlk, p.byRev, p.unsettled = counted(&looked, lessByBlk), counted(&looked, lessByRev), counted(&looked, lessUnsettled)
		owner := &rising{}
		commit := func(i int) {
			tid := zodb.Tid(i + 1)
			p.add(&Old{Oid: 1, Blk: int64(i % 100), From: tid, Until: tid + 100, settled: i%2 == 0, buf: storage.NewBuf(1), owner: owner})
			require.NoError(t, p.Settle(t.Context(), 1, tid))
			_, buf, _ := p.Next(1, tid, 0)
			require.NotNil(t, buf)
			buf.Release()
			buf = p.Block(t.Context(), 1, int64(i%100), tid+50)
			require.NotNil(t, buf)
			buf.Release()
		}
		for i := range n {
			commit(i)
		}
		looked, owner.asked = 0, 0
		for i := range 100 {
			commit(n + i)
		}
		return looked / 100, owner.asked
	}
	few, askedFew := cost(100)
	many, askedMany := cost(20_000)
	t.Logf("entries looked at: %d with 100 blocks kept, %d with 20 000", few, many)
	require.Less(t, many, 4*few, "as a logarithm grows")
	require.Equal(t, 50, askedFew)
	require.Equal(t, 50, askedMany, "revisions that were looked up")
}

// rising owns blocks whose revision is 100 below the last view that sees them.
type rising struct{ asked int }

func (r *rising) BlkRevAt(_ context.Context, _ int64, at zodb.Tid) (versions.Rev, error) {
	r.asked++
	return versions.Rev{Tid: at - 100, Exact: true}, nil
}

// TestRevisionIsLookedUpOnlyIfSomebodyAskedForSoOldAView: it takes loads.
func TestRevisionIsLookedUpOnlyIfSomebodyAskedForSoOldAView(t *testing.T) {
	p := newPreserved(1000)
	owner := &rising{}
	news := func(oid zodb.Oid) (revs blkRevs, ok bool) {
		p.add(&Old{Oid: oid, Blk: 1, From: 208, Until: 300, buf: storage.NewBuf(1), owner: owner})
		return p.revsOf(t.Context(), p.takeNews())
	}
	requireAsked := func(n int, oid zodb.Oid, at zodb.Tid) {
		t.Helper()
		if at > 0 {
			require.NoError(t, p.Settle(t.Context(), oid, at))
		}
		revs, ok := news(1)
		require.Equal(t, n > 0, ok)
		if ok {
			require.Equal(t, blkRevs{1, 200}, revs)
		}
		require.Equal(t, n, owner.asked)
		require.Nil(t, p.takeNews())
	}
	_, ok := news(3)
	require.False(t, ok)
	requireAsked(0, 0, 0)
	requireAsked(0, 2, 100) // of another file
	requireAsked(0, 1, 209)
	requireAsked(4, 1, 208) // those before as well
	requireAsked(5, 1, 250)
}

// TestKeeperGetsThroughWhateverThereIs, in pieces: it tells of all, and lets all go.
func TestKeeperGetsThroughWhateverThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3*newsBatch + 1
		ctx, cancel := context.WithCancel(t.Context())
		told := &tellings{}
		h := &Head{ctx: ctx, preserved: newPreserved(n), cfg: Config{PreserveTime: time.Minute, Observer: told}}
		k := newKeeper(h)
		for i := range n {
			h.preserved.add(&Old{Oid: 1, From: zodb.Tid(i), Until: zodb.Tid(i), settled: true, buf: storage.NewBuf(1)})
		}
		k.poke()
		synctest.Wait()
		require.Equal(t, n, told.n)
		require.EqualValues(t, n, h.preserved.Bytes())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, h.preserved.Bytes())
		cancel()
		k.wait()
	})
}

// TestDroppedContentIsReleased, but not while somebody uses it.
func TestDroppedContentIsReleased(t *testing.T) {
	p := newPreserved(100)
	buf := storage.NewBuf(100)
	p.add(&Old{Oid: 1, Blk: 1, From: 5, Until: 9, settled: true, buf: buf})
	read := p.Block(t.Context(), 1, 1, 7)
	require.Same(t, buf, read)
	p.add(&Old{Oid: 1, Blk: 1, From: 10, Until: 19, settled: true, buf: storage.NewBuf(1)})
	require.Nil(t, p.Block(t.Context(), 1, 1, 7))
	require.NotPanics(t, func() { read.Retain().Release() })
	read.Release()
	require.Panics(t, func() { buf.Retain() }, "it is released")
}
