package catalog

import (
	"bytes"
	"context"
	"errors"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// rootOid is the oid of the root object.
const rootOid zodb.Oid = 0

// zBigArray is the class of arrays.
var zBigArray = record.Class{Module: "wendelin.bigarray.array_zodb", Name: "ZBigArray"}

// kind is what an object is for us.
type kind uint8

const (
	otherKind kind = iota // may refer to arrays and files
	arrayKind             // ZBigArray
	fileKind              // ZBigFile
	dataKind              // ZBlk*, ZData: refers to nothing of interest, and is big
)

// kindOf tells the kind by class.
func kindOf(class record.Class) kind {
	switch class {
	case zBigArray:
		return arrayKind
	case record.ZBigFile:
		return fileKind
	case record.ZBlk, record.ZBlk0, record.ZBlk1, record.ZData:
		return dataKind
	}
	return otherKind
}

// object is one object as of a view.
type object struct {
	oid    zodb.Oid
	serial zodb.Tid
	class  record.Class
	kind   kind
	state  any           // of otherKind and arrayKind
	file   *bigfile.File // of fileKind
}

// reader loads objects as of a view.
type reader struct {
	src storage.Loader
	at  zodb.Tid
}

// object loads and decodes an object. Errors are those of storage.Loader, and
// *storage.CorruptError.
func (r reader) object(ctx context.Context, oid zodb.Oid) (*object, error) {
	if s, ok := r.src.(storage.Streamer); ok {
		return r.abridged(ctx, s, oid)
	}
	buf, serial, err := r.src.Load(ctx, zodb.Xid{At: r.at, Oid: oid})
	if err != nil {
		return nil, err
	}
	defer buf.Release()
	o := &object{oid: oid, serial: serial}
	if err := o.decode(buf.Data); err != nil {
		return nil, &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
	}
	return o, nil
}

// Bounds of what is taken of one record, in bytes: of a small one all, and of a bigger
// one what is left without long strings. A database may have records that do not fit
// into memory twice, and decoded not once.
const (
	maxWhole    = 1 << 20
	maxAbridged = 16 << 20
)

// abridged is object, of as much of the record as matters.
func (r reader) abridged(ctx context.Context, src storage.Streamer, oid zodb.Oid) (*object, error) {
	var data []byte
	var bad error // in what was read
	serial, err := src.Stream(ctx, zodb.Xid{At: r.at, Oid: oid}, func(record io.Reader) (err error) {
		bad = nil
		data, err = io.ReadAll(io.LimitReader(record, maxWhole+1))
		if err != nil || len(data) <= maxWhole {
			return err
		}
		data, err = pickle.Abridge(io.MultiReader(bytes.NewReader(data), contextReader{ctx, record}), maxAbridged)
		var malformed *pickle.Error
		if errors.As(err, &malformed) {
			bad, err = err, nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	o := &object{oid: oid, serial: serial}
	if bad == nil {
		bad = o.decode(data)
	}
	if bad != nil {
		return nil, &storage.CorruptError{Oid: oid, Tid: serial, Err: bad}
	}
	return o, nil
}

// contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// decode decodes no more than what the class makes worth it.
func (o *object) decode(data []byte) (err error) {
	if o.class, err = record.ClassOf(data); err == nil {
		switch o.kind = kindOf(o.class); o.kind {
		case dataKind:
			return nil
		case fileKind:
			o.file, err = bigfile.DecodeFile(data)
			return err
		}
	}
	if o.class, o.state, err = pickle.Record(data); err != nil {
		return err
	}
	if o.kind = kindOf(o.class); o.kind == otherKind && looksLikeArray(o.state) {
		o.kind = arrayKind
	}
	return nil
}

// looksLikeArray reports whether a state is one of a class derived from
// ZBigArray.
func looksLikeArray(state any) bool {
	file, ok := attribute(state, zfileAttr).(pickle.Ref)
	return ok && file.Class == record.ZBigFile && attribute(state, "_shape") != nil && attribute(state, "_dtype") != nil
}

// zfileAttr is where an array has its file.
const zfileAttr = "zfile"

// attribute returns an attribute of an object with that state, nil if there is
// none.
func attribute(state any, name string) any {
	for _, attrs := range attributes(state) {
		if v, ok := attrs.Get(name); ok {
			return v
		}
	}
	return nil
}

// attributes returns the dicts of attributes in a state: one, or as a pair the
// usual one and that of slots, either of which may be None. It returns nil for a
// state of another form.
func attributes(state any) (dicts []*pickle.Dict) {
	parts, ok := state.(pickle.Tuple)
	if !ok {
		parts = pickle.Tuple{state}
	} else if len(parts) != 2 {
		return nil
	}
	for _, part := range parts {
		dict, ok := part.(*pickle.Dict)
		if !ok && part != nil {
			return nil
		}
		if ok {
			dicts = append(dicts, dict)
		}
	}
	return dicts
}

// contentKey returns the attribute that has the items of a container whose items
// belong to the container itself, "" for other classes.
func contentKey(class record.Class, state any) string {
	switch class.Name {
	case "PersistentMapping", "PersistentDict":
		if attribute(state, "data") == nil { // very old databases
			return "_container"
		}
		return "data"
	case "PersistentList":
		return "data"
	}
	return ""
}

// endsWalk reports whether an error concerns the database as a whole, or the
// caller, and not only the object that was asked for.
func endsWalk(ctx context.Context, err error) bool {
	var down *storage.DownError
	var future *storage.FutureViewError
	return ctx.Err() != nil || errors.Is(err, storage.ErrClosed) || errors.As(err, &down) || errors.As(err, &future)
}
