// Package livetest is a world for tests of the newest view: a page cache with the
// locking of the kernel, and a database that changes at random and knows what
// every block reads as at every view.
package livetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/wcfs/wcfs/internal/core/live"
)

// Kernel is the page cache of one file with the locking of the real one
// (measured on Linux 6.18): a READ keeps its pages locked until it is answered;
// stores, invalidations and a change of the size wait for locked pages one after
// another, in the order in which they came, and a retrieval takes a locked page for one
// that is not cached.
type Kernel struct {
	file *live.File
	Page int64  // bytes
	nap  func() // called wherever time may pass in the kernel
	// Stored is told where each store ends, when it has ended; it may be nil.
	Stored func(end int64)

	mu    sync.Mutex
	pages map[int64]*cachedPage // by index
	gone  bool

	size    int64 // bytes, as the server said it last
	version int   // of size; also counts invalidations
	extends int   // times that the file was extended
}

type cachedPage struct {
	data   []byte          // nil: not up to date
	locked bool            // by a READ, a store, an invalidation, or a change of the size
	queue  []chan struct{} // who waits for that, longest first; closed at its turn
}

// NewKernel returns an empty page cache of f. nap is called wherever time may
// pass in a kernel.
func NewKernel(f *live.File, nap func()) *Kernel {
	k := &Kernel{file: f, nap: nap, Page: int64(os.Getpagesize()), pages: make(map[int64]*cachedPage)}
	f.Attach(k)
	k.size = f.Attr(context.Background()).Size
	return k
}

// lock waits until page i is not locked, and locks it unless it is up to date
// and a reader is content with that. It returns nil if killed is closed before.
func (k *Kernel) lock(killed <-chan struct{}, i int64, unlessCached bool) (p *cachedPage, cached bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p = k.pages[i]; p == nil {
		p = &cachedPage{}
		k.pages[i] = p
	}
	if p.locked {
		turn := make(chan struct{})
		p.queue = append(p.queue, turn)
		k.mu.Unlock()
		select {
		case <-turn:
		case <-killed:
		}
		k.mu.Lock()
		if j := slices.Index(p.queue, turn); j >= 0 {
			p.queue = slices.Delete(p.queue, j, j+1)
			return nil, false
		}
	}
	p.locked = true
	if unlessCached && p.data != nil {
		k.handOver(i, p)
		return p, true
	}
	return p, false
}

// handOver gives the lock of p to the one that has waited longest.
func (k *Kernel) handOver(i int64, p *cachedPage) {
	switch {
	case len(p.queue) > 0:
		close(p.queue[0])
		p.queue = p.queue[1:]
		return
	case p.data == nil && k.pages[i] == p:
		delete(k.pages, i)
	}
	p.locked = false
}

// unlock lets p go, with new content or, if data is nil, without any.
func (k *Kernel) unlock(i int64, p *cachedPage, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.data = data
	k.handOver(i, p)
}

// ReadPages makes pages [from, to) up to date, as a fault or read-ahead does,
// with one READ for each run of pages that are not. There are none behind the end. A
// thread that is killed does not wait any longer for pages that others read, but for
// its own READ.
func (k *Kernel) ReadPages(ctx context.Context, killed <-chan struct{}, thread int, from, to int64) error {
	for i := from; i < to && !k.Beyond(i); {
		p, cached := k.lock(killed, i, true)
		if cached {
			i++
			continue
		}
		if p == nil {
			return context.Canceled
		}
		run := []*cachedPage{p}
		for next := i + 1; next < to && !k.Beyond(next) && k.isFree(next); next++ {
			p, cached := k.lock(killed, next, true)
			if cached || p == nil {
				break
			}
			run = append(run, p)
		}
		err := k.sendREAD(ctx, killed, thread, i, run)
		if err != nil && len(run) > 1 {
			// Read-ahead may fail: what is wanted is read page by page.
			err = k.readOneByOne(ctx, killed, thread, i, i+int64(len(run)))
		}
		if err != nil {
			return err
		}
		i += int64(len(run))
	}
	return nil
}

// readOneByOne makes pages [from, to) up to date with a READ for each.
func (k *Kernel) readOneByOne(ctx context.Context, killed <-chan struct{}, thread int, from, to int64) error {
	for i := from; i < to; i++ {
		p, cached := k.lock(killed, i, true)
		switch {
		case cached:
			continue
		case p == nil:
			return context.Canceled
		}
		if err := k.sendREAD(ctx, killed, thread, i, []*cachedPage{p}); err != nil {
			return err
		}
	}
	return nil
}

// PageAt returns a copy of page i if it is up to date and not locked, else nil.
func (k *Kernel) PageAt(i int64) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pages[i]; p != nil && !p.locked {
		return bytes.Clone(p.data)
	}
	return nil
}

// isFree reports whether page i can be locked at once and has no content.
func (k *Kernel) isFree(i int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pages[i]
	return p == nil || !p.locked && p.data == nil
}

// sendREAD has the server fill the locked pages of run.
func (k *Kernel) sendREAD(ctx context.Context, killed <-chan struct{}, thread int, first int64, run []*cachedPage) error {
	version := k.versionNow()
	k.nap() // the server does not know of it yet
	reply, err := k.file.Read(ctx, live.Request{Off: first * k.Page, N: len(run) * int(k.Page), Thread: thread, Interrupted: killed})
	if err != nil {
		for j, p := range run {
			k.unlock(first+int64(j), p, nil)
		}
		return err
	}
	data := bytes.Join(reply.Slices(), nil)
	if len(data) < len(run)*int(k.Page) { // the end of the file
		k.mu.Lock()
		if k.version == version {
			k.size = min(k.size, first*k.Page+int64(len(data)))
		}
		k.mu.Unlock()
	}
	data = append(data, make([]byte, len(run)*int(k.Page)-len(data))...) // beyond the end of the file
	k.nap()
	for j, p := range run {
		k.unlock(first+int64(j), p, bytes.Clone(data[int64(j)*k.Page:int64(j+1)*k.Page]))
	}
	reply.Release() // the reply is written once the pages have it
	return nil
}

// ReadDirect reads pages past the cache.
func (k *Kernel) ReadDirect(ctx context.Context, from, to int64) ([]byte, error) {
	reply, err := k.file.Read(ctx, live.Request{Off: from * k.Page, N: int((to - from) * k.Page), Direct: true})
	if err != nil {
		return nil, err
	}
	defer reply.Release()
	return bytes.Join(reply.Slices(), nil), nil
}

// Cached returns the content of the pages that are up to date.
func (k *Kernel) Cached() map[int64][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[int64][]byte)
	for i, p := range k.pages {
		if p.data != nil && !p.locked {
			out[i] = bytes.Clone(p.data)
		}
	}
	return out
}

// Reclaim drops page i if it is not locked, as the kernel does when it wants
// memory.
func (k *Kernel) Reclaim(i int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pages[i]; p != nil && !p.locked {
		delete(k.pages, i)
	}
}

func (k *Kernel) Store(off int64, data []byte) error {
	if (off|int64(len(data)))%k.Page != 0 {
		panic(fmt.Sprintf("store [%d +%d) is not of whole pages", off, len(data)))
	}
	for i := int64(0); i < int64(len(data))/k.Page; i++ {
		p, _ := k.lock(nil, off/k.Page+i, false)
		k.nap()
		page := p.data // who holds a reference sees the new bytes
		if page == nil {
			page = make([]byte, k.Page)
		}
		copy(page, data[i*k.Page:])
		k.unlock(off/k.Page+i, p, page)
	}
	end := off + int64(len(data))
	k.mu.Lock()
	k.size = max(k.size, end) // fuse_notify_store of Linux moves the end
	k.mu.Unlock()
	if k.Stored != nil {
		k.Stored(end)
	}
	return nil
}

func (k *Kernel) Invalidate(off, n int64) error {
	if off%k.Page != 0 {
		panic("invalidation does not begin at a page")
	}
	for _, i := range k.indices(off, n) {
		k.nap()
		p, _ := k.lock(nil, i, false)
		k.unlock(i, p, nil)
	}
	return nil
}

// indices returns, in order, the pages of [off, off+n) that are there now.
func (k *Kernel) indices(off, n int64) (found []int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := int64(-1)
	for i := range k.pages {
		last = max(last, i)
	}
	for i := off / k.Page; i <= last && i*k.Page-off < n; i++ {
		if k.pages[i] != nil {
			found = append(found, i)
		}
	}
	return found
}

// Retrieve takes references of the pages first, and copies what is in them later.
func (k *Kernel) Retrieve(off int64, dest []byte) (n int, err error) {
	var refs [][]byte
	for i := off / k.Page; len(refs)*int(k.Page) < len(dest); i++ {
		k.mu.Lock()
		p := k.pages[i]
		if p == nil || p.locked || p.data == nil {
			k.mu.Unlock()
			break
		}
		refs = append(refs, p.data)
		k.mu.Unlock()
	}
	k.nap()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, page := range refs {
		n += copy(dest[n:], page)
	}
	return n, nil
}

func (k *Kernel) Gone() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	return nil
}

var _ live.Kernel = (*Kernel)(nil)
