//go:build invariants

package storage

// mangled is what the memory of a buffer has that is nobody's: no test expects it.
const mangled = 0xdb

// take gives no buffer a second time. So one Release too many never takes the reference
// of somebody else, which nobody could find out; it panics.
func take(int) *Buf { return nil }

// retire takes the content of a released buffer away: data that is still used reads as
// nonsense, at once and not only when the memory has another use.
func (b *Buf) retire() {
	data := b.Data[:cap(b.Data)]
	for i := range data {
		data[i] = mangled
	}
}
