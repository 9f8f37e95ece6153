package t

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page that held the end of a file does not keep the zeros behind it.
func TestGrowthWithinAMappedPage(t *testing.T) {
	l := NewLive(t)
	f := l.NewFile(1024)
	f.Commit(Blocks{0: "a"})
	s := l.Start()
	path := f.Path(s, "head")
	m := Map(t, path, 1024, 8)
	require.Equal(t, "a", m.Block(0))
	s.WaitAt(f.Commit(Blocks{1: "b"}))
	m2 := Map(t, path, 1024, 8)
	require.Equal(t, []string{"a", "b"}, m2.Blocks(2))
}

func TestGrowthWithinAReadPage(t *testing.T) {
	l := NewLive(t)
	f := l.NewFile(1024)
	f.Commit(Blocks{0: "a"})
	s := l.Start()
	path := f.Path(s, "head")
	require.Equal(t, "a", content(t, path)[:1])
	s.WaitAt(f.Commit(Blocks{1: "b"}))
	require.Equal(t, "b", content(t, path)[1024:1025])
}

// Zeros that a fault behind the end brought in are gone when the file grows back.
func TestFaultBehindTheEndDoesNotOutliveGrowth(t *testing.T) {
	l := NewLive(t)
	f := l.NewFile(4096)
	f.Commit(Blocks{0: "a", 1: "b"})
	s := l.Start()
	path := f.Path(s, "head")
	m := Map(t, path, 4096, 8)
	require.Equal(t, "a", m.Block(0))
	s.WaitAt(l.Commit(func(tx *LiveTx) { tx.Delete(f, 1) }))
	_ = m.Block(1) // a fault with the i_size that the kernel still has
	s.WaitAt(f.Commit(Blocks{1: "B"}))
	st, err := os.Stat(path) // tells the kernel the size
	require.NoError(t, err)
	require.EqualValues(t, 2*4096, st.Size())
	m2 := Map(t, path, 4096, 8)
	require.Equal(t, []string{"a", "B"}, m2.Blocks(2))
}
