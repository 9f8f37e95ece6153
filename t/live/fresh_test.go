package live

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"github.com/wcfs/wcfs/t/harness"
)

// servers are environments of the server in which timing differs.
var servers = map[string][]string{"GOMAXPROCS=1": append(os.Environ(), "GOMAXPROCS=1"), "all processors": nil}

// freshness is a writer that commits all the time while processes read in all
// ways.
type freshness struct {
	nblk    int
	blksize int64
	commits int
	lag     int // the writer is at most that many commits ahead of head/at
	how     []string
}

func (c freshness) run(t *testing.T, env []string) {
	if env != nil {
		c.commits /= 4 // each takes longer
	}
	if *harness.LiveOn == "postgresql" {
		c.commits /= 8 // each is many steps of other processes, beside readers that never pause
	}
	seed := harness.NewSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := harness.NewLive(t)
	v := versions{zwrite.TidOf(time.Now()) &^ 0xff, seed}
	f := l.NewFile(c.blksize)
	commit := func(n int) {
		l.CommitAs(v.tid(n), func(tx *harness.LiveTx) {
			for blk := range c.nblk {
				if v.changes(n, blk) {
					tx.Write(f, int64(blk), v.data(n, blk, c.blksize))
				}
			}
		})
		l.Forget()
	}
	for v.tid(1) <= l.Head() { // the clock of commits is not ours
		v.base += 1 << 8
	}
	commit(1)
	s := harness.Launch(t, harness.Config{Options: []string{"-debug"}, ZURL: l.ZURL, Env: env})
	var helpers []*harness.Helper
	for _, how := range c.how {
		h := harness.StartHelper(t, "fresh", how, s.Path("head/at"), f.Path(s, "head"), fmt.Sprint(c.blksize),
			fmt.Sprint(c.nblk), v.base.String(), fmt.Sprint(seed))
		require.Equal(t, "ready", h.Line(), how)
		helpers = append(helpers, h)
	}
	for n := 2; n <= c.commits; n++ {
		commit(n)
		if rnd.IntN(c.lag) == 0 {
			s.WaitAt(v.tid(n))
		}
	}
	s.WaitAt(v.tid(c.commits))
	for i, h := range helpers {
		h.In.Close()
		checks, err := strconv.Atoi(h.Line())
		require.NoError(t, err, "reader %s", c.how[i])
		t.Logf("%s: %d checks in %d commits", c.how[i], checks, c.commits)
		require.Zero(t, h.Wait())
	}
	last := versionsRead(t, f.Path(s, "head"), c)
	for blk, n := range last {
		require.Equal(t, v.last(c.commits, blk), n, "block %d in the end", blk)
	}
	s.Stop()
}

// versionsRead returns the version of every block.
func versionsRead(t *testing.T, path string, c freshness) (versions []int) {
	t.Helper()
	f := harness.OpenRandom(t, path)
	defer f.Close()
	for blk := range c.nblk {
		word := harness.Pread(t, f, int64(blk+1)*c.blksize-8, 8)
		n, err := strconv.ParseUint(fmt.Sprintf("%x", reversed(word)), 16, 64)
		require.NoError(t, err)
		versions = append(versions, int(n>>16))
	}
	return versions
}

func reversed(b []byte) (r []byte) {
	for i := range b {
		r = append(r, b[len(b)-1-i])
	}
	return r
}

// TestNothingReadIsOlderThanHeadAt is the promise of head/: once head/at shows a
// transaction nobody reads anything older, in whatever way he reads.
func TestNothingReadIsOlderThanHeadAt(t *testing.T) {
	for name, env := range servers {
		for size, c := range map[string]freshness{
			"small blocks": {nblk: 6, blksize: 64 << 10, commits: 1200, lag: 8, how: readers},
			"big blocks":   {nblk: 3, blksize: harness.BlkSize, commits: 100, lag: 4, how: readers},
			"one page":     {nblk: 3, blksize: 4096, commits: 2000, lag: 16, how: readers},
		} {
			t.Run(size+"/"+name, func(t *testing.T) {
				t.Parallel()
				c.run(t, env)
			})
		}
	}
}

// TestBlockRewrittenWhileItIsReadHangsNobody commits the same block thousands of
// times while many processes do nothing but read it: the kernel makes every
// invalidation of a page wait for READs of it.
func TestBlockRewrittenWhileItIsReadHangsNobody(t *testing.T) {
	for name, env := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := freshness{nblk: 1, blksize: 32 << 10, commits: 4000, lag: 32, how: append(readers, readers...)}
			c.run(t, env)
		})
	}
}
