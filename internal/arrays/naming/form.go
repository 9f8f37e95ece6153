package naming

import (
	"context"
	"errors"
	"fmt"
	"os"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/core/form"
)

// pageSize is what the length of a header is a multiple of.
func pageSize() int { return max(4096, os.Getpagesize()) }

// header returns the header of an array. The error says why it has none.
func header(e *catalog.Entry) (form.Header, error) {
	switch {
	case e.Oid == e.File:
		return nil, errors.New("it is a file, not an array: it has no dtype and shape")
	case e.ArrayErr != nil:
		return nil, e.ArrayErr
	case e.Err != nil:
		return nil, e.Err
	}
	return (&ndarray.Header{DType: e.Array.DType, Shape: e.Array.Shape, Order: e.Array.Order}).EncodeAligned(pageSize())
}

// Form implements fusefs.Naming.
func (t *Tree) Form(ctx context.Context, at zodb.Tid, array zodb.Oid) (*form.Form, error) {
	xid := zodb.Xid{At: at, Oid: array}
	if f, ok := t.forms.Get(xid); ok {
		return f, nil
	}
	o, err := catalog.Look(ctx, t.src, at, array)
	if err != nil {
		return nil, fmt.Errorf("look at array %s: %w", array, err)
	}
	f, err := formOf(o)
	if err != nil {
		return nil, &form.NoFormError{Oid: array, Reason: err}
	}
	t.forms.Add(xid, f)
	return f, nil
}

func formOf(o *catalog.Object) (*form.Form, error) {
	e := o.Entry()
	if e == nil {
		return nil, fmt.Errorf("it is of class %.200s, and no array", o.Class())
	}
	h, err := header(e)
	if err != nil {
		return nil, err
	}
	items, err := e.Array.Bytes()
	return &form.Form{File: e.File, Rev: e.Rev, Header: h, Items: items}, err
}
