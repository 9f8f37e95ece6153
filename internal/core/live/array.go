package live

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Forms tells how arrays look as files.
type Forms interface {
	// Form returns the form of an array as of a view. Errors are those of storage.Loader,
	// *storage.CorruptError, and *form.NoFormError for an array that has no form.
	Form(ctx context.Context, at zodb.Tid, array zodb.Oid) (*form.Form, error)
}

// OpenArray returns an array as a file. Errors are those of Forms, and of Open for the
// ZBigFile that has the items.
func (h *Head) OpenArray(ctx context.Context, oid zodb.Oid) (*File, error) {
	return h.open(ctx, oid, true, h.loadArray)
}

// Before returns how many bytes of header an array has.
func (f *File) Before() int64 { return f.before }

// is returns an error if f is no array, or no file, in place of the other.
func (f *File) is(array bool) error {
	if array != (f.before > 0) {
		return fmt.Errorf("object %s: %w", f.Oid, errAnotherFile)
	}
	return nil
}

// loadArray returns an array as of view, not entered yet, and what it depends on.
func (h *Head) loadArray(ctx context.Context, oid zodb.Oid, view zodb.Tid) (*File, []btree.Step, error) {
	array, err := h.cfg.Forms.Form(ctx, view, oid)
	if err != nil {
		return nil, nil, err
	}
	obj, rev, err := h.objs.File(ctx, zodb.Xid{At: view, Oid: array.File})
	if err != nil {
		return nil, nil, err
	}
	f := newFile(h, served.New(oid, view, obj, array.Items), array.File, max(rev, array.Rev))
	f.form, f.before = array, int64(len(array.Header))
	return f, append(versions.FileStep(array.File, rev), versions.FileStep(oid, array.Rev)...), nil
}

// compareForm looks at the record of an array, which the transaction has changed. The array
// is another file if its items are elsewhere now, or its header has another size.
func (c *change) compareForm(ctx context.Context) error {
	f, tid := c.file, c.tx.tid
	now, err := f.head.cfg.Forms.Form(ctx, tid, f.Oid)
	var none *form.NoFormError
	switch {
	case storage.IsNoData(err) || errors.As(err, &none) || bigfile.IsDamage(err):
		c.delta.fence = fmt.Errorf("array %s is no .npy file any more @%s: %w", f.Oid, tid, err)
	case err != nil:
		return err
	case now.File != f.data || int64(len(now.Header)) != f.before:
		c.delta.fence = fmt.Errorf("array %s is another file @%s", f.Oid, tid)
	default:
		c.delta.form = now
	}
	return nil
}
