package t

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadAheadOverASlowClientsBlockFailsNobody reads over the boundary of two
// blocks, of which the second has to wait for a client. The kernel asks for both
// in one request; who reads the first must get it at once, and who reads over the
// boundary everything as soon as the client has acknowledged.
func TestReadAheadOverASlowClientsBlockFailsNobody(t *testing.T) {
	const half = 1 << 20
	sc := newSceneOf(t, 0, 2*half)
	at1 := sc.commit(0, 1, 2)
	sc.commit(1)
	sc.open()
	slow := sc.manualWatcher()
	require.Equal(t, "ok", slow.Ask(watchRequest(sc.f.Oid, at1)))

	f, err := os.Open(sc.f.Path(sc.s, "head"))
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
	require.EqualValues(t, 1, pin.blk)
	first := read(t, sc.f.Path(sc.s, "head"), 0, 2*half) // while the client is slow
	require.Equal(t, sc.f.Text(0, at1), string(first[:len(sc.f.Text(0, at1))]))
	select {
	case <-over:
		t.Fatal("the second block was given out before the client has acknowledged")
	default:
	}
	slow.Ack(pin)
	data := <-over
	want := sc.f.Text(1, sc.l.Head())
	require.Equal(t, want, string(data[half:half+len(want)]))
	sc.end()
}
