package transfer

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestOnlyWhatIsSaidToBePlainDataIs: whatever is no .npy file, of whatever ending and
// from a file or a pipe, is refused with what it looks like, unless a type or shape is
// given, or a word that asks for plain data.
func TestOnlyWhatIsSaidToBePlainDataIs(t *testing.T) {
	good := npy{descr: "'<f8'", item: 8, shape: []int64{2, 3}, data: make([]byte, 48)}
	file := good.bytes()
	unknown := bytes.Clone(file)
	unknown[6] = 9
	var gz, archive, tarball bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(file)
	require.NoError(t, w.Close())
	z := zip.NewWriter(&archive)
	_, err := z.Create("a.npy")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	tw := tar.NewWriter(&tarball)
	require.NoError(t, tw.WriteHeader(&tar.Header{Name: "a.npy", Size: 0, Format: tar.FormatUSTAR}))
	require.NoError(t, tw.Close())
	for _, c := range []struct{ name, head, want string }{
		{"nothing", "", "it is empty; is it still being written?"},
		{"npz", archive.String(), "is a zip archive"},
		{"zip", "PK\x05\x06" + strings.Repeat("\x00", 18), "an empty zip archive"},
		{"gzip", gz.String(), "is compressed with gzip; unpack it: gzip -dc 'odd name' | wcfs import - DATABASE NAME"},
		{"bzip2", "BZh91AY&SY", "is compressed with bzip2; unpack it: bzip2 -dc"},
		{"xz", "\xfd7zXZ\x00\x00\x04", "is compressed with xz; unpack it: xz -dc"},
		{"zstd", "\x28\xb5\x2f\xfd\x24", "is compressed with zstd; unpack it: zstd -dc"},
		{"pickle", "\x80\x04\x95\x00", "is a Python pickle; load it with Python"},
		{"HDF5", "\x89HDF\r\n\x1a\n\x00", "is an HDF5 file"},
		{"PNG", "\x89PNG\r\n\x1a\n\x00", "is a PNG image"},
		{"tar", tarball.String(), "is a tar archive"},
		{"database", "FS30\x00\x00", "is a ZODB database; to take an array out of it: wcfs export 'odd name' NAME"},
		{"CSV", "a,b\n1,2\n", "is text, as a CSV file is; convert it: python3"},
		{"text in UTF-8", strings.Repeat("größer\r\n", 1000), "is text"},
		{"numbers", string(binary.LittleEndian.AppendUint64(nil, 1)), `it begins with "\x01\x00\x00\x00\x00\x00\x00\x00"; if it is plain data`},
		{"zeros", strings.Repeat("\x00", 100), "it begins with"},
		{"a byte", "\x93", "is an .npy file that is cut off in its header: 9 bytes and its data are missing"},
		{"magic", "\x93NUMPY\x01", "cut off in its header: 3 bytes"},
		{"half a header", string(file[:20]), "cut off in its header: 108 bytes and its data are missing"},
		{"unknown version", string(unknown), "format 9.0 is not known; 1.0, 2.0 and 3.0 are"},
	} {
		for _, size := range []int64{int64(len(c.head)), -1} {
			_, err := NewSource(strings.NewReader(c.head), "odd name", size, Layout{})
			require.Equal(t, fault.Input, fault.Of(err), c.name)
			require.ErrorContains(t, err, c.want, c.name)
			if strings.HasPrefix(c.head, npyMagic) {
				continue
			}
			for _, layout := range []Layout{{Raw: true}, {DType: dtypeOf(t, "|u1")}, {Shape: []int64{int64(len(c.head))}}} {
				_, err := NewSource(strings.NewReader(c.head), "odd name", size, layout)
				require.NoError(t, err, c.name)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "x.npy")
	require.NoError(t, os.WriteFile(path, gz.Bytes(), 0o600))
	_, err = OpenSource(ctx, path, Layout{})
	require.ErrorContains(t, err, "is no .npy file: it is compressed with gzip")
}

// TestMissingBytesAreCounted: of a file that is cut off in its data.
func TestMissingBytesAreCounted(t *testing.T) {
	good := npy{descr: "'<f8'", item: 8, shape: []int64{2, 3}, data: make([]byte, 48)}
	file := good.bytes()
	_, err := trySource(file[:len(file)-7], false, Layout{})
	require.ErrorContains(t, err, "has 41 bytes of data instead of the 48 of <f8 (2, 3); it is cut off: 7 bytes are missing")
}
