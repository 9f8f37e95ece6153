package live

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// A damaged block is EIO for its pages of an array, and SIGBUS where they are mapped. The
// header and all other pages are there, and so is the whole array before the damage.
func TestDamagedBlockOfAnArrayIsEIOAndNothingElseIs(t *testing.T) {
	const page, perBlock, damaged = 4096, 4, 2
	database := filepath.Join(t.TempDir(), "data.fs")
	blocks := func(letters string) (data []byte) {
		for _, c := range letters {
			data = append(data, bytes.Repeat([]byte{byte(c)}, perBlock*page)...)
		}
		return data
	}
	whole := importRaw(t, database, "a", blocks("wxyz"), "--create", "--blksize", "16384", "--dtype", "S1", "--shape", "65536")
	importRaw(t, database, "a", blocks("abcd"), "--replace", "--blksize", "16384", "--dtype", "S1", "--shape", "65536")
	patch(t, database, func(data []byte) []byte {
		content := bytes.Index(data, blocks("c"))
		require.Positive(t, content)
		class := bytes.LastIndex(data[:content], []byte("ZBlk0"))
		require.Positive(t, class)
		data[class] ^= 0xff
		return data
	})
	s := harness.StartOn(t, database)
	for _, view := range []string{"head", "@" + harness.Content(t, s.Path("head", "at"))} {
		path := s.Path(view, "arrays", "a.npy")
		for _, advice := range []int{unix.FADV_RANDOM, unix.FADV_NORMAL} {
			fd, err := harness.OpenFile(path, unix.O_RDONLY)
			require.NoError(t, err)
			require.NoError(t, unix.Fadvise(fd, 0, 0, advice))
			data := make([]byte, page)
			for p := range int64(1 + 4*perBlock) {
				n, err := unix.Pread(fd, data, p*page)
				if p > 0 && (p-1)/perBlock == damaged {
					require.Equal(t, unix.EIO, err, "%s: page %d", view, p)
					continue
				}
				require.NoError(t, err, "%s: page %d", view, p)
				require.Equal(t, pageOfLetters("abcd", p, perBlock), string(data[:min(n, 6)]), "%s: page %d", view, p)
			}
			unix.Close(fd)
		}
		m := harness.Map(t, path, page, 1+4*perBlock)
		for p := range int64(1 + 4*perBlock) {
			want := pageOfLetters("abcd", p, perBlock)
			if want == "cccccc" {
				want = "SIGBUS"
			}
			require.Equal(t, want, m.Block(p)[:6], "%s: page %d", view, p)
		}
		m.Close()
		require.Contains(t, s.Log(), "/"+view+"/arrays/a.npy: readblk #2: damaged record of object")
	}
	_, items := arrayFile(t, s.Path("@"+whole.String(), "arrays", "a.npy"))
	require.True(t, items == string(blocks("wxyz")), "the array before the damage")
	s.Stop()
}

// pageOfLetters is how a page of a .npy file begins, if each block of its items is one letter.
func pageOfLetters(letters string, page, perBlock int64) string {
	if page == 0 {
		return "\x93NUMPY"
	}
	return strings.Repeat(letters[(page-1)/perBlock:][:1], 6)
}
