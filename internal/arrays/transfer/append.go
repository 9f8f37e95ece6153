package transfer

import (
	"context"
	"fmt"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// Append adds src to an array along its major axis, in one transaction. dtype,
// order and the other axes must be equal; what src does not say of itself is taken
// to be. Only blocks at the end of the array are read and written.
//
// Errors: *catalog.NotFoundError, of kinds fault.Input and fault.Changed, the error of ctx,
// those of zwrite. After any of them nothing was written, but see
// zwrite.Txn.Commit.
func Append(ctx context.Context, db zwrite.Store, src *Source, name string, opt Options) (res Result, err error) {
	defer failed(&err, "append", name)
	opt = opt.withDefaults(appendMessage+"%s to %s", src.Path, name)
	txn, err := db.Begin(ctx, zwrite.Meta{Description: []byte(opt.Message)})
	if err != nil {
		return res, err
	}
	defer txn.Abort()
	old, err := res.open(ctx, txn, name)
	if err != nil {
		return res, err
	}
	end, err := old.Bytes()
	if err != nil {
		return res, err
	}
	if err := settle(src, old, name); err != nil {
		return res, err
	}
	if err := res.write(ctx, txn, src, old.File, end, opt); err != nil {
		return res, err
	}
	if err := settle(src, old, name); err != nil { // what is known at the end only
		return res, err
	}
	res.Rows = rows(src.array())
	res.Array = *old
	res.Array.Shape = slices.Clone(old.Shape)
	res.Array.Shape[majorAxis(old)] += res.Rows
	if _, err := res.Array.Bytes(); err != nil {
		return res, badInput(src.Path, err)
	}
	txn.Store(res.Oid, ndarray.EncodeArray(&res.Array))
	res.Tid, err = txn.Commit()
	return res, err
}

// settle has src take over what it does not say, and compares the rest.
func settle(src *Source, old *ndarray.Array, name string) error {
	if len(old.Shape) == 0 {
		return &fault.Error{Kind: fault.Input, About: src.Path, Msg: fmt.Sprintf("%s is a single value without axes, to which nothing can be appended", name)}
	}
	if err := src.settle(old); err != nil {
		return err
	}
	why := mismatch(src.array(), old)
	if why == "" {
		return nil
	}
	return &fault.Error{Kind: fault.Input, About: src.Path, Msg: fmt.Sprintf("is %s, and %s is %s", Describe(src.array()), name, Describe(old)), Hint: why}
}

// mismatch says why a cannot be appended to old, "" if it can. A shape that is
// not known yet will fit.
func mismatch(a, old *ndarray.Array) string {
	switch {
	case !a.DType.Equal(old.DType):
		return "the dtypes must be equal"
	case len(old.Shape) > 1 && a.Order != old.Order:
		return "the orders must be equal; convert it with numpy.ascontiguousarray or numpy.asfortranarray"
	case a.Shape != nil && !sameRows(a, old):
		return fmt.Sprintf("the shapes must be equal but for axis %d", majorAxis(old))
	}
	return ""
}

// sameRows reports whether the shapes are equal but for the major axis.
func sameRows(a, b *ndarray.Array) bool {
	if len(a.Shape) != len(b.Shape) {
		return false
	}
	for axis, n := range a.Shape {
		if axis != majorAxis(b) && n != b.Shape[axis] {
			return false
		}
	}
	return true
}

// open loads the array of that name, which must be one that can be written anew
// without loss.
func (res *Result) open(ctx context.Context, txn *zwrite.Txn, name string) (*ndarray.Array, error) {
	entry, err := catalog.Find(ctx, bigfile.TxnLoader{Txn: txn}, zodb.TidMax, name)
	if err != nil {
		return nil, err
	}
	res.Oid = entry.Oid
	data, serial, err := txn.Load(res.Oid)
	if err != nil {
		return nil, err
	}
	txn.Expect(res.Oid, serial)
	class, state, err := pickle.Record(data)
	if err != nil {
		return nil, &storage.CorruptError{Oid: res.Oid, Tid: serial, Err: err}
	}
	switch attr := foreignAttr(state); {
	case entry.ArrayErr != nil:
		return nil, &storage.CorruptError{Oid: res.Oid, Tid: serial, Err: entry.ArrayErr}
	case entry.Array == nil:
		return nil, fmt.Errorf("%s is a file and no array: where its data ends is not known", name)
	case class != record.ZBigArray:
		return nil, fmt.Errorf("%s is a %.200s and no plain ZBigArray; append with the application that made it", name, class)
	case attr != "":
		return nil, fmt.Errorf("%s has an attribute %q, which would be lost; append with the application that set it", name, attr)
	}
	return entry.Array, nil
}

// foreignAttr returns the name of an attribute that no ZBigArray has of itself,
// "" if there is none.
func foreignAttr(state any) string {
	parts, ok := state.(pickle.Tuple)
	if !ok {
		parts = pickle.Tuple{state}
	}
	for _, part := range parts {
		dict, _ := part.(*pickle.Dict)
		if dict == nil {
			continue
		}
		for _, item := range dict.Items {
			switch name, _ := pickle.Text(item.Key); name {
			case "_dtype", "_shape", "_order", "_stridev", "zfile":
			default:
				return fmt.Sprintf("%.100s", name)
			}
		}
	}
	return ""
}
