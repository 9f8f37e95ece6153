package storage_test

import (
	"bytes"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestBufIsReusedOnlyAfterItsLastRelease(t *testing.T) {
	for _, n := range []int{0, 1, 575, 576, 577, 4096, 2<<20 + 50, 9 << 20, 9<<20 + 1} {
		ones, twos := bytes.Repeat([]byte{1}, n), bytes.Repeat([]byte{2}, n)
		b := storage.NewBuf(n)
		if len(b.Data) != n {
			t.Fatalf("%d bytes instead of %d", len(b.Data), n)
		}
		copy(b.Data, ones)
		b.Retain()
		b.Release()
		other := storage.NewBuf(n)
		copy(other.Data, twos)
		if !bytes.Equal(b.Data, ones) {
			t.Fatalf("a buffer of %d bytes was handed out twice", n)
		}
		b.Release()
		other.Release()
	}
}

func TestBufPanicsWhenItsReferencesAreMiscounted(t *testing.T) {
	for name, misuse := range map[string]func(*storage.Buf){
		"release": func(b *storage.Buf) { b.Release() },
		"retain":  func(b *storage.Buf) { b.Retain() },
	} {
		t.Run(name, func(t *testing.T) {
			b := storage.NewBuf(9<<20 + 1) // not shared by way of a pool
			b.Release()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(b)
		})
	}
}
