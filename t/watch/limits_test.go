package watch

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// helperLinkHog opens head/watch as often as it is told, by a number a line, or until
// that fails. It prints how often it could, and the errno. Argument: the mount.
func helperLinkHog(args []string) error {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		most, opened, err := 0, 0, error(nil)
		fmt.Sscan(in.Text(), &most)
		for opened < most && err == nil {
			if _, err = harness.OpenFile(filepath.Join(args[0], "head/watch"), unix.O_RDWR); err == nil {
				opened++
			}
		}
		fmt.Println(opened, harness.Outcome(err))
	}
	return nil
}

// TestLinksAreBoundedByDescriptors: one who opens too many links is told so, others
// get some, and the server goes on.
func TestLinksAreBoundedByDescriptors(t *testing.T) {
	t.Parallel()
	const files = 160 // half of them for links, a quarter of those for one process
	l := harness.NewLive(t)
	sc := &harness.Scene{T: t, Live: l, File: l.NewFile(64 << 10)}
	sc.Server = harness.Launch(t, harness.Config{ZURL: l.ZURL, Under: []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)}})
	sc.At = append(sc.At, l.Head())
	at1 := sc.Commit(0, 1)
	var hogs []*harness.Helper
	for range 4 {
		h := harness.StartHelper(t, "link-hog", sc.Server.Dir)
		require.Equal(t, fmt.Sprintf("%d EMFILE", files/8), h.Ask("1000"))
		require.Equal(t, "0 EMFILE", h.Ask("1"), "and again")
		hogs = append(hogs, h)
		if len(hogs) == 1 { // there is room for others
			sc.Open()
			sc.Watching(at1, harness.Pins{}).Close()
			harness.Until(t, "that link is gone", func() bool { return sc.Server.Stats()["WatchLink"] == files/8 })
		}
	}
	last := harness.StartHelper(t, "link-hog", sc.Server.Dir)
	harness.Until(t, "no link is left for anybody", func() bool { return sc.Server.Stats()["WatchLink"] == files/2 })
	require.Equal(t, "0 EMFILE", last.Ask("1000"))
	require.Contains(t, sc.Server.Log(), "too many links are open")

	// Everything else goes on.
	sc.Map(3)
	sc.Read(0, 1)
	at2 := sc.Commit(1, 2)
	sc.Read(1, 2)
	for range 20 {
		sc.File.Check(sc.Server, "@"+at1.String(), at1)
		sc.File.Check(sc.Server, "head", at2)
	}
	hogs[0].Kill()
	harness.Until(t, "links can be opened again", func() bool { return last.Ask("1") == "1 ok" })
	for _, h := range append(hogs[1:], last) {
		h.Kill()
	}
	sc.Server.RequireNoLinks()
	w := sc.Watching(at1, harness.Pins{1: at1, 2: sc.At[0]})
	w.Sees(sc.File)
	require.Zero(t, sc.Server.Stats()["pinkill"])
	w.Close()
	sc.Mapped.Close()
	sc.Server.Stop()
}
