package livetest

// ID tells pages apart: it is what the first bytes of a page say of it.
type ID [16]byte

// IDOf returns the ID of a page with that content.
func IDOf(page []byte) (id ID) {
	copy(id[:], page)
	return id
}

// PageID returns the ID of page i if it is up to date and not locked.
func (k *Kernel) PageID(i int64) (id ID, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pages[i]
	if p == nil || p.locked || p.data == nil {
		return id, false
	}
	return IDOf(p.data), true
}
