//go:build invariants

package live

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/core/served"
)

// checkedFully is up to how many blocks, READs or pins all of them are looked at each time.
const checkedFully = 64

// check panics if f is not as it must be whenever its lock is free. See core/lock for
// when it is called.
func (f *File) check() {
	must := func(ok bool, format string, args ...any) {
		if !ok {
			panic("BUG: live: file " + f.Oid.String() + ": " + fmt.Sprintf(format, args...))
		}
	}
	err := f.served().Check(checkedFully)
	must(err == nil, "%v", err)
	must(f.fenced == nil || f.served().Len() == 0, "it is fenced, and %d blocks are served", f.served().Len())
	must(!f.announcing || f.kernel != nil, "a size is told to no kernel")
	for blk, reads := range f.reads {
		if len(f.reads) > checkedFully {
			break
		}
		must(len(reads) > 0, "an empty list of READs of block #%d", blk)
		for _, r := range reads {
			must(r.file == f, "a READ of another file")
		}
	}
	for w := range f.watches {
		must(!w.removed && w.file == f, "a watch that is removed, or of another file")
		if len(w.pins) > checkedFully {
			continue
		}
		for blk, p := range w.pins {
			must(p.want == p.acked || p.taken || p.sending, "nobody sends that block #%d has to be mapped from @%s", blk, p.want)
			must(p.want != ToHead || !p.settled() || p.sending, "a pin of block #%d that says nothing", blk)
		}
	}
}

// checkIndex returns an error if the Index does not agree with itself. It looks at all of
// it, and no sweep may be under way.
func (h *Head) checkIndex() (err error) {
	h.indexed(func(x *served.Index) { err = x.Check() })
	return err
}
