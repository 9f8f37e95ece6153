//go:build invariants

package storage_test

import (
	"bytes"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var bufSizes = []int{1, 4096, 2<<20 + 50, 9<<20 + 1}

// TestReleasedBufIsMangled: whoever keeps data too long does not read what was there.
func TestReleasedBufIsMangled(t *testing.T) {
	for _, n := range bufSizes {
		b := storage.NewBuf(n)
		copy(b.Data, bytes.Repeat([]byte{1}, n))
		kept := b.Retain().Data
		b.Release()
		if bytes.IndexByte(kept, 1) != 0 {
			t.Fatalf("a buffer of %d bytes with a reference was mangled", n)
		}
		b.Release()
		if i := bytes.IndexByte(kept, 1); i >= 0 {
			t.Errorf("byte %d of a released buffer of %d bytes is what it was", i, n)
		}
	}
}

// TestSecondReleaseIsFound also when buffers of that size were made since.
func TestSecondReleaseIsFound(t *testing.T) {
	for _, n := range bufSizes {
		b := storage.NewBuf(n)
		b.Release()
		other := storage.NewBuf(n)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a buffer of %d bytes was released twice, and nothing said so", n)
				}
			}()
			b.Release()
		}()
		other.Release()
	}
}
