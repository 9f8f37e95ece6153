//go:build !invariants

package storage

// take returns a released buffer of a class, if there is one.
func take(class int) *Buf {
	b, _ := bufPools[class].Get().(*Buf)
	return b
}

// retire keeps a released buffer for those that come.
func (b *Buf) retire() {
	if b.class >= 0 {
		bufPools[b.class].Put(b)
	}
}
