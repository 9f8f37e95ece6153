package naming

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Describe implements fusefs.Naming.
func (t *Tree) Describe(ctx context.Context, at zodb.Tid, path string) ([]byte, error) {
	w, pos, err := t.find(ctx, at, path)
	if err != nil {
		return nil, err
	}
	note, err := t.look(ctx, at, w.dir, pos)
	if err != nil {
		return nil, err
	}
	if note&hasJSON == 0 {
		return nil, w.objects[len(w.objects)-1].missing(path)
	}
	d := description{}
	d.add("name", w.keys(pos))
	d.add("oid", w.dir.entries[pos].oid)
	if err := t.describe(ctx, at, w.dir.entries[pos].oid, &d); err != nil {
		return nil, fmt.Errorf("describe %s: %w", path, err)
	}
	return d.text()
}

// keys returns the keys that lead to an entry, as they are in the database.
func (w *way) keys(pos int) []string {
	keys := []string{}
	dir := w.objects[0].root
	next := 1
	for _, name := range w.names {
		at, _ := dir.find(name)
		e := &dir.entries[at]
		keys = append(keys, e.key)
		if dir = e.inside; dir == nil {
			dir = w.objects[next].root
			next++
		}
	}
	return append(keys, w.dir.entries[pos].key)
}

// describe adds what there is to say about an array or a file. Errors are those that do not
// concern it alone; others are a part of the description.
func (t *Tree) describe(ctx context.Context, at zodb.Tid, oid zodb.Oid, d *description) error {
	o, err := catalog.Look(ctx, t.src, at, oid)
	if err != nil {
		return d.reason(err)
	}
	e := o.Entry()
	if e == nil {
		return d.reason(fmt.Errorf("it is of class %.200s", o.Class()))
	}
	h, noForm := header(e)
	d.add("npy", noForm == nil)
	if noForm != nil {
		d.add("reason", terminal.Error(noForm))
	}
	if e.Array != nil {
		if err := d.array(e); err != nil {
			return err
		}
	}
	d.add("revision", e.Rev)
	if noForm == nil {
		d.add("data_offset", len(h))
	}
	if e.Err != nil {
		return nil
	}
	d.add("file", e.File)
	d.add("path", "bigfile/"+e.File.String())
	if err := o.Measure(ctx, e); err != nil {
		return d.damaged(err)
	}
	d.add("blksize", e.BlkSize)
	d.add("file_size", e.Size)
	return nil
}

// array adds what only arrays have.
func (d *description) array(e *catalog.Entry) error {
	dtype, err := e.Array.DType.JSON()
	if err != nil {
		return err
	}
	nbytes, err := e.Array.Bytes()
	if err != nil {
		return err
	}
	d.add("dtype", json.RawMessage(dtype))
	d.add("shape", append([]int64{}, e.Array.Shape...))
	d.add("order", string(e.Array.Order))
	d.add("strides", e.Array.Strides())
	d.add("itemsize", e.Array.DType.Size())
	d.add("nbytes", nbytes)
	return nil
}

// description is a JSON object with one line for each field.
type description struct{ fields []field }

type field struct {
	name  string
	value any
}

func (d *description) add(name string, value any) {
	if id, ok := value.(fmt.Stringer); ok {
		value = id.String()
	}
	d.fields = append(d.fields, field{name, value})
}

// reason adds why nothing is known, or returns the error if it does not concern the object
// alone.
func (d *description) reason(err error) error {
	if !isDamage(err) {
		return err
	}
	d.add("npy", false)
	d.add("reason", terminal.Error(err))
	return nil
}

// damaged is reason for a file, of which something is known already.
func (d *description) damaged(err error) error {
	if !isDamage(err) {
		return err
	}
	d.add("error", terminal.Error(err))
	return nil
}

func isDamage(err error) bool { return bigfile.IsDamage(err) || storage.IsNoData(err) }

func (d *description) text() ([]byte, error) {
	var out bytes.Buffer
	for i, f := range d.fields {
		sep := ",\n"
		if i == 0 {
			sep = "{\n"
		}
		fmt.Fprintf(&out, "%s  %q: ", sep, f.name)
		if err := terminal.JSONLine(&out, f.value); err != nil {
			return nil, err
		}
		out.Truncate(out.Len() - len("\n"))
	}
	out.WriteString("\n}\n")
	return out.Bytes(), nil
}
