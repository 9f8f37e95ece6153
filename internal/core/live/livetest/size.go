package livetest

import (
	"context"
	"math"
)

// Stat asks for the size, and returns what it is told. The cache behind a new end is
// dropped, and the rest of the page that the end is in cleared: both wait for READs. As
// in the kernel, an answer that was overtaken, by another one or by an invalidation,
// does not count, although whoever asked gets it (attr_version in fs/fuse of Linux).
func (k *Kernel) Stat() (size int64) {
	version := k.versionNow()
	k.nap()
	size = k.file.Attr(context.Background()).Size
	k.nap()
	k.setSize(size, version)
	return size
}

// Extends returns how often the file was extended.
func (k *Kernel) Extends() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.extends
}

func (k *Kernel) versionNow() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version
}

// setSize takes in a size that was asked for at a version, if none came meanwhile.
func (k *Kernel) setSize(size int64, version int) {
	k.mu.Lock()
	ok, same := k.version == version, k.size == size
	if ok {
		k.version++
		k.size = size
	}
	k.mu.Unlock()
	if !ok || same {
		return
	}
	for _, i := range k.indices(size/k.Page*k.Page, math.MaxInt64) {
		p, _ := k.lock(nil, i, false)
		if data := p.data; i*k.Page < size {
			clear(data[min(size-i*k.Page, int64(len(data))):])
			k.unlock(i, p, data)
		} else {
			k.unlock(i, p, nil)
		}
	}
}

// Beyond reports whether page i is behind the end of the file: to touch it is SIGBUS.
func (k *Kernel) Beyond(i int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return i*k.Page >= k.size
}

// InvalidateAttr makes answers that are on their way not count.
func (k *Kernel) InvalidateAttr() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	return nil
}

// Extend moves the end before it waits for the page that this is in.
func (k *Kernel) Extend(size int64) error {
	k.nap()
	k.mu.Lock()
	if size > k.size {
		k.size = size
		k.version++
		k.extends++
	}
	k.mu.Unlock()
	k.nap()
	i, at := (size-1)/k.Page, (size-1)%k.Page
	p, _ := k.lock(nil, i, false)
	page := p.data
	if page == nil && at == 0 {
		page = make([]byte, k.Page) // written from its beginning to the end of the file
	}
	if page != nil {
		page[at] = 0
	}
	k.nap()
	k.unlock(i, p, page)
	return nil
}
