package watch

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// helperEscaping is a client that would leave a mark if it saw the end of its link,
// or could not write to it: it could take what it has mapped for right then, and go
// on with it. SIGBUS does not end it. Arguments: the mount, the mark. Commands: how
// often to write which text, quoted. It prints what it reads, quoted.
func helperEscaping(args []string) error {
	harness.NoGC()
	signal.Ignore(unix.SIGBUS)
	fd, err := harness.OpenFile(filepath.Join(args[0], "head/watch"), unix.O_RDWR)
	if err != nil {
		return err
	}
	mark := func(what string, err error) { _ = os.WriteFile(args[1], fmt.Appendf(nil, "%s: %v", what, err), 0o644) }
	go func() {
		for buf := make([]byte, 4096); ; {
			n := 0
			err := harness.Uninterrupted(func() (err error) { n, err = unix.Read(fd, buf); return err })
			if err != nil || n == 0 {
				mark("read", err)
				return
			}
			fmt.Printf("%q\n", buf[:n])
		}
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var n int
		var text string
		if _, err := fmt.Sscanf(in.Text(), "%d %q", &n, &text); err != nil {
			return err
		}
		for range n {
			if _, err := unix.Write(fd, []byte(text)); err != nil {
				mark("write", err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// TestClientIsEndedBeforeItSeesTheEndOfItsLink: who must not go on with what it has
// mapped learns nothing that would make it go on before it is dead.
func TestClientIsEndedBeforeItSeesTheEndOfItsLink(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]struct {
		n    int
		text string
	}{
		"no answer":           {0, ""},
		"nak":                 {1, "2 nak: no\n"},
		"many naks":           {10, "2 nak: no\n"},
		"bad frame":           {1, "zzz\n"},
		"unexpected stream":   {1, "4 ack\n"},
		"request after a nak": {3, "2 nak: no\n3 watch x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, at1 := failingScene(t, 0)
			mark := filepath.Join(t.TempDir(), "mark")
			h := harness.StartHelper(t, "escaping", sc.Server.Dir, mark)
			h.Tell(fmt.Sprintf("1 %q", "1 "+harness.WatchRequest(sc.File.Oid, at1)+"\n"))
			pin := harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 2, Rev: at1}
			require.Equal(t, strconv.Quote(message(pin)+"\n"), h.Line())
			h.Tell(fmt.Sprintf("%d %q", write.n, write.text))
			go func() {
				for range h.Lines { // the reason may be told
				}
			}()
			requireEnded(t, h)
			require.NoFileExists(t, mark)
			harness.Until(t, "the server has forgotten the client", func() bool { return sc.Server.Stats()["WatchLink"] == 0 })
			require.Equal(t, 1, sc.Server.Stats()["pinkill"])
			require.Contains(t, logOf(sc.Server, h.Cmd.Process.Pid), "is still alive after SIGBUS")
			afterwards(sc)
		})
	}
}
