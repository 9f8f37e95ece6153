package t

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/oracle"
)

func init() { helpers["link-hog"] = helperLinkHog }

// helperLinkHog opens head/watch as often as it is told, by a number a line, or until
// that fails. It prints how often it could, and the errno. Argument: the mount.
func helperLinkHog(args []string) error {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		most, opened, err := 0, 0, error(nil)
		fmt.Sscan(in.Text(), &most)
		for opened < most && err == nil {
			if _, err = openFile(filepath.Join(args[0], "head/watch"), unix.O_RDWR); err == nil {
				opened++
			}
		}
		fmt.Println(opened, outcome(err))
	}
	return nil
}

// TestLinksAreBoundedByDescriptors: one who opens too many links is told so, others
// get some, and the server goes on.
func TestLinksAreBoundedByDescriptors(t *testing.T) {
	t.Parallel()
	const files = 160 // half of them for links, a quarter of those for one process
	l := NewLive(t)
	sc := &scene{t: t, l: l, f: l.NewFile(64 << 10)}
	sc.s = Launch(t, Config{ZURL: l.ZURL, Under: []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)}})
	sc.at = append(sc.at, l.Head())
	at1 := sc.commit(0, 1)
	var hogs []*Helper
	for range 4 {
		h := StartHelper(t, "link-hog", sc.s.Dir)
		require.Equal(t, fmt.Sprintf("%d EMFILE", files/8), h.Ask("1000"))
		require.Equal(t, "0 EMFILE", h.Ask("1"), "and again")
		hogs = append(hogs, h)
		if len(hogs) == 1 { // there is room for others
			sc.open()
			sc.watching(at1, pins{}).Close()
			until(t, "that link is gone", func() bool { return sc.s.stats()["WatchLink"] == files/8 })
		}
	}
	last := StartHelper(t, "link-hog", sc.s.Dir)
	until(t, "no link is left for anybody", func() bool { return sc.s.stats()["WatchLink"] == files/2 })
	require.Equal(t, "0 EMFILE", last.Ask("1000"))
	require.Contains(t, sc.s.Log(), "too many links are open")

	// Everything else goes on.
	sc.mapped(3)
	sc.read(0, 1)
	at2 := sc.commit(1, 2)
	sc.read(1, 2)
	for range 20 {
		sc.f.Check(sc.s, "@"+at1.String(), at1)
		sc.f.Check(sc.s, "head", at2)
	}
	hogs[0].Kill()
	until(t, "links can be opened again", func() bool { return last.Ask("1") == "1 ok" })
	for _, h := range append(hogs[1:], last) {
		h.Kill()
	}
	sc.s.requireNoLinks()
	w := sc.watching(at1, pins{1: at1, 2: sc.at[0]})
	w.Sees(sc.f)
	require.Zero(t, sc.s.stats()["pinkill"])
	w.Close()
	sc.m.Close()
	sc.s.Stop()
}

// TestReaderOfADamagedBlockDoesNotFillTheLog: what it is told in a loop is said now
// and then.
func TestReaderOfADamagedBlockDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	rec := lastUsed(t, db, record.ZBlk0, 200)
	path := CopyDatabase(t, "basic")
	patch(t, path, func(data []byte) []byte {
		clear(data[rec.Pos:][:len(rec.Data)])
		return data
	})
	s := StartOn(t, path)
	_, broken := readBlocks(t, s, db, "head", db.Txns[len(db.Txns)-1])
	require.Len(t, broken, 1)
	file := db.Files[broken[0].file]
	fd, err := openFile(s.Path("head/bigfile", file.Oid.String()), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	start := time.Now()
	for range 1000 {
		_, err := unix.Pread(fd, make([]byte, 100), broken[0].blk*file.BlkSize)
		require.ErrorIs(t, err, unix.EIO)
	}
	lines := strings.Count(s.Log(), fmt.Sprintf("readblk #%d", broken[0].blk))
	require.Positive(t, lines)
	require.LessOrEqual(t, lines, 2+int(time.Since(start)/(5*time.Second)), "lines about it in the log")
	s.Stop()
}
