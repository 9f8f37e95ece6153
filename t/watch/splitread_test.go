package watch

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// TestReadAheadOverASlowClientsBlockFailsNobody reads over the boundary of two
// blocks, of which the second has to wait for a client. The kernel asks for both
// in one request; who reads the first must get it at once, and who reads over the
// boundary everything as soon as the client has acknowledged.
func TestReadAheadOverASlowClientsBlockFailsNobody(t *testing.T) {
	const half = 1 << 20
	sc := harness.NewSceneOf(t, 0, 2*half)
	at1 := sc.Commit(0, 1, 2)
	sc.Commit(1)
	sc.Open()
	slow := sc.ManualWatcher()
	require.Equal(t, "ok", slow.Ask(harness.WatchRequest(sc.File.Oid, at1)))

	f, err := os.Open(sc.File.Path(sc.Server, "head"))
	require.NoError(t, err)
	defer f.Close()
	over := make(chan []byte)
	go func() {
		data := make([]byte, 2*half)
		n, err := f.ReadAt(data, half)
		if err != nil || n != len(data) {
			t.Errorf("read over the boundary: %d bytes, %v", n, err)
		}
		over <- data
	}()
	pin := slow.Pin()
	require.EqualValues(t, 1, pin.Blk)
	first := harness.ReadAt(t, sc.File.Path(sc.Server, "head"), 0, 2*half) // while the client is slow
	require.Equal(t, sc.File.Text(0, at1), string(first[:len(sc.File.Text(0, at1))]))
	select {
	case <-over:
		t.Fatal("the second block was given out before the client has acknowledged")
	default:
	}
	slow.Ack(pin)
	data := <-over
	want := sc.File.Text(1, sc.Live.Head())
	require.Equal(t, want, string(data[half:half+len(want)]))
	sc.End()
}
