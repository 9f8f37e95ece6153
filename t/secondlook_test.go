package t

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/client"
)

var _ = addHelper("chase", helperChase)

// helperChase moves to the newest state and touches all blocks of an array, again and
// again. It prints how often. Arguments: mount point, oid, seconds.
func helperChase(args []string) error {
	ctx := context.Background()
	oid, _ := client.ParseOid(args[1])
	seconds, _ := strconv.Atoi(args[2])
	w, err := client.JoinMount(ctx, args[0])
	if err != nil {
		return err
	}
	conn, err := w.Connect(ctx, client.Head)
	if err != nil {
		return err
	}
	f, err := conn.Open(ctx, oid)
	if err != nil {
		return err
	}
	size, err := f.Size(ctx)
	if err != nil {
		return err
	}
	m, err := f.Mmap(ctx, 0, size/f.BlkSize())
	if err != nil {
		return err
	}
	rounds := 0
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); rounds++ {
		if err := conn.Resync(ctx, client.Head); err != nil {
			return err
		}
		err := m.View(func(data []byte) error {
			for off := int64(0); off < size; off += f.BlkSize() {
				if data[off] == 0 {
					return errors.New("zero")
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Println(rounds)
	return w.Close()
}

// TestClientThatIsInAPageFaultDuringACommitIsNotEnded: the kernel keeps the memory map
// locked when a fault has to read a second time.
func TestClientThatIsInAPageFaultDuringACommitIsNotEnded(t *testing.T) {
	l := NewLive(t)
	f := l.NewFile(4096)
	all := func(text string) Blocks {
		blocks := Blocks{}
		for blk := range int64(8) {
			blocks[blk] = text
		}
		return blocks
	}
	f.Commit(all("first"))
	s := l.Start("-pintimeout", "4s")
	seconds := 8
	if testing.Short() {
		seconds = 1
	}
	var chasers []*Helper
	for range 2 {
		chasers = append(chasers, StartHelper(t, "chase", s.Dir, f.Oid.String(), fmt.Sprint(seconds)))
	}
	for i, end := 0, time.Now().Add(time.Duration(seconds)*time.Second); time.Now().Before(end); i++ {
		f.Commit(all(fmt.Sprint(i)))
		time.Sleep(300 * time.Microsecond) // lets others run: it is no wait for anything
	}
	for _, h := range chasers {
		rounds, err := strconv.Atoi(h.Line())
		require.NoError(t, err)
		require.Zero(t, h.Wait())
		t.Logf("%d rounds", rounds)
		require.Positive(t, rounds)
	}
	s.Stop()
}
