package transfer

import (
	"context"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Export writes an array as of view at to w: as an .npy file, or nothing but its
// items. progress, if not nil, is told how many more bytes of items are written.
//
// Errors are those of Copy, *ndarray.ShapeError, and *ndarray.LayoutError for a
// dtype that .npy files cannot have.
func Export(ctx context.Context, src storage.Loader, at zodb.Tid, array *ndarray.Array, w io.Writer, npy bool, progress func(int64)) (err error) {
	defer xerr.Context(&err, "export")
	size, err := array.Bytes()
	if err != nil {
		return err
	}
	if npy {
		header, err := (&ndarray.Header{DType: array.DType, Shape: array.Shape, Order: array.Order}).Encode()
		if err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return Copy(ctx, src, at, array.File, 0, size, w, progress)
}
