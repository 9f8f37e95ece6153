package isolation

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// busyBlocks is how many blocks of a file a client has to be told of at a time: many
// more than pins can be under way.
const busyBlocks = 4 * maxPins

// busy is a file of very many blocks, all of which change in every transaction and
// are read after it, and an engine.
type busy struct {
	t      *testing.T
	db     *mem.Storage
	head   *live.Head
	file   *live.File
	engine *Engine
	at     zodb.Tid
	close  func()
}

func newBusy(t *testing.T) *busy {
	ctx, cancel := context.WithCancel(t.Context())
	b := &busy{t: t, db: mem.New()}
	b.store()
	objs := versions.NewObjects(ctx, b.db, 1, 64<<20)
	loader := bigfile.NewLoader(ctx, 4)
	b.head = live.New(ctx, 1, objs, b.db, loader, live.Config{MaxServed: 4 * busyBlocks, ParkedBytes: 1 << 30, Retry: time.Second,
		StuckAfter: time.Hour, KeepHistory: time.Minute, KeepFloor: time.Hour, Observer: core.Alone{}, Processes: core.Alone{}})
	var err error
	b.file, err = b.head.Open(ctx, 1)
	require.NoError(t, err)
	_, err = b.db.NextEvent(ctx)
	require.NoError(t, err)
	b.engine = NewEngine(ctx, b.head, Config{PinTimeout: pinTimeout, Observer: failing(func(err error) { t.Errorf("fatal: %s", err) })})
	b.close = func() {
		cancel()
		b.engine.Close()
		b.head.Close()
		loader.Wait()
		objs.Close()
		b.db.Close()
	}
	return b
}

// store commits new content of all blocks.
func (b *busy) store() {
	b.at++
	records := make(map[zodb.Oid][]byte)
	keys, refs := make([]int64, busyBlocks), make([]btree.Ref, busyBlocks)
	for blk := range keys {
		z := zodb.Oid(100 + blk)
		keys[blk], refs[blk] = int64(blk), btree.Ref{Oid: z, Class: record.ZBlk0}
		records[z] = bigfile.EncodeBlock(fmt.Appendf(nil, "%d of %d", blk, b.at))
	}
	if b.at == 1 {
		records[1] = bigfile.EncodeFile(&bigfile.File{BlkSize: 16, Table: 2})
		records[2] = btree.EncodeTree(btree.LO, false, []zodb.Oid{3}, nil, 3)
		records[3] = btree.EncodeBucket(btree.LO, keys, refs, 0)
	}
	b.db.Commit(b.at, records)
}

// commit is store that head takes in.
func (b *busy) commit() {
	b.t.Helper()
	b.store()
	event, err := b.db.NextEvent(b.t.Context())
	require.NoError(b.t, err)
	require.NoError(b.t, b.head.Commit(b.t.Context(), event))
}

// read reads the blocks [from, to), and returns how long that took.
func (b *busy) read(from, to int64) time.Duration {
	start := time.Now()
	for blk := from; blk < to; blk++ {
		reply, err := b.file.Read(b.t.Context(), live.Request{Off: blk * 16, N: 16})
		require.NoError(b.t, err)
		require.Equal(b.t, fmt.Sprintf("%d of %d", blk, b.at), strings.TrimRight(string(bytes.Join(reply.Slices(), nil)), "\x00"))
		reply.Release()
	}
	return time.Since(start)
}

// slowClient answers each pin after a time of its own, any number at a time.
type slowClient struct {
	b     *busy
	link  *Link
	proc  *mortal
	delay time.Duration

	mu      sync.Mutex
	pinned  map[string]int // messages, by block
	answers map[string]chan string
}

func (b *busy) client(delay time.Duration) *slowClient {
	c := &slowClient{b: b, proc: newMortal(), delay: delay, pinned: make(map[string]int), answers: make(map[string]chan string)}
	link, err := b.engine.Open(func() (Process, error) { return c.proc, nil })
	require.NoError(b.t, err)
	c.link = link
	go c.receive()
	return c
}

// Read gives the bytes of the link.
func (c *slowClient) Read(dest []byte) (int, error) { return c.link.Read(context.Background(), dest) }

func (c *slowClient) receive() {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		stream, msg, _ := strings.Cut(lines.Text(), " ")
		c.mu.Lock()
		if answer := c.answers[stream]; answer != nil {
			answer <- msg
		} else {
			c.pinned[strings.Fields(msg)[2]]++
			time.AfterFunc(c.delay, func() { _ = c.link.Write([]byte(stream + " ack\n")) })
		}
		c.mu.Unlock()
	}
}

// ask sends a request and returns what its answer will come to.
func (c *slowClient) ask(stream string, msg string) <-chan string {
	answer := make(chan string, 1)
	c.mu.Lock()
	c.answers[stream] = answer
	c.mu.Unlock()
	require.NoError(c.b.t, c.link.Write([]byte(stream+" "+msg+"\n")))
	return answer
}

// wasSent reports whether the client was told of a block.
func (c *slowClient) wasSent(blk int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinned[fmt.Sprintf("#%d", blk)] > 0
}

// requireAlive requires that nobody was killed.
func (c *slowClient) requireAlive() {
	c.b.t.Helper()
	select {
	case <-c.proc.dead:
		c.b.t.Fatal("the client was killed")
	default:
	}
	require.Zero(c.b.t, c.b.engine.Stats().PinKill)
}

// moving returns a client that has to be told of all blocks since its watch moves,
// and answers each in half of the time that it has. Each block is pinned to a
// revision that nobody else sees, except the last, which it maps from head.
func moving(b *busy, delay time.Duration) (c *slowClient, answer <-chan string) {
	c = b.client(0)
	watch := func(at zodb.Tid) string { return fmt.Sprintf("watch %s @%s", zodb.Oid(1), at) }
	b.commit() // @2
	b.read(0, busyBlocks-1)
	require.Equal(b.t, "ok", <-c.ask("1", watch(1)), "all blocks but the last one are pinned")
	b.commit() // @3
	c.mu.Lock()
	require.Len(b.t, c.pinned, busyBlocks-1)
	clear(c.pinned)
	c.delay = delay
	c.mu.Unlock()
	answer = c.ask("3", watch(2)) // they are told anew
	synctest.Wait()
	return c, answer
}

// TestReadGoesBeforeWhatNobodyWaitsFor: a client has to be told of very many blocks,
// and takes almost all of the time that it has for each. A READ of another block,
// which the client maps from head, waits for the one pin that it needs.
func TestReadGoesBeforeWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t)
		defer b.close()
		start := time.Now()
		c, answer := moving(b, pinTimeout*9/10)
		require.False(t, c.wasSent(busyBlocks-1))
		require.Less(t, b.read(busyBlocks-1, busyBlocks), pinTimeout, "the READ waited for what nobody waits for")
		require.True(t, c.wasSent(busyBlocks-1))
		require.Equal(t, "ok", <-answer)
		require.Greater(t, time.Since(start), 3*pinTimeout, "the client was not busy")
		c.requireAlive()
	})
}

// TestTimeOfAPinForAReadRunsWhileItIsQueued: whoever has very many pins to answer for
// READs, and is slow, does not make them wait for longer than twice what a pin may take.
func TestTimeOfAPinForAReadRunsWhileItIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t)
		defer b.close()
		c := b.client(0)
		require.Equal(t, "ok", <-c.ask("1", fmt.Sprintf("watch %s @%s", zodb.Oid(1), zodb.Tid(1))))
		b.commit()
		c.mu.Lock()
		c.delay = pinTimeout * 9 / 10 // just in time
		c.mu.Unlock()
		var readers sync.WaitGroup
		longest, mu := time.Duration(0), sync.Mutex{}
		for blk := range int64(busyBlocks) {
			readers.Go(func() {
				took := b.read(blk, blk+1)
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, took)
			})
		}
		readers.Wait()
		require.LessOrEqual(t, longest, 2*pinTimeout+pinTimeout/10, "READs waited")
		<-c.proc.dead // it could not keep up with what others wait for
		require.EqualValues(t, 1, b.engine.Stats().PinKill)
	})
}
