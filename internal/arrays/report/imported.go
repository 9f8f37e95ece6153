package report

import (
	"fmt"
	"io"

	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// importReport is what --json prints.
type importReport struct {
	Name    string  `json:"name"`
	Oid     string  `json:"oid"`  // of the array
	File    string  `json:"file"` // oid
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Order   string  `json:"order"`
	Rows    int64   `json:"rows"`   // new ones
	Bytes   int64   `json:"bytes"`  // of data imported
	Blocks  int64   `json:"blocks"` // written
	Tid     string  `json:"tid"`
	Created bool    `json:"created"` // the database
}

// ImportJSON prints what was imported as JSON.
func ImportJSON(w io.Writer, name string, created bool, res *transfer.Result) error {
	err := terminal.JSONLine(w, importReport{
		Name: name, Oid: res.Oid.String(), File: res.Array.File.String(),
		DType: res.Array.DType.String(), Shape: res.Array.Shape, Order: string(res.Array.Order),
		Rows: res.Rows, Bytes: res.Bytes, Blocks: res.Blocks, Tid: res.Tid.String(), Created: created,
	})
	if err != nil { // it must not look as if nothing was written
		return fmt.Errorf("imported %s in transaction %s, but cannot say so: %s", name, res.Tid, err)
	}
	return nil
}

// Import prints what was imported, or appended, for people.
func Import(w io.Writer, name string, appended bool, res *transfer.Result) {
	done := fmt.Sprintf("imported %s: %s,", name, transfer.Describe(&res.Array))
	if appended {
		done = fmt.Sprintf("appended to %s, now %s:", name, transfer.Describe(&res.Array))
	}
	fmt.Fprintf(w, "%s %s in %s, transaction %s\n", done, terminal.Size(res.Bytes), terminal.Count(res.Blocks, "block"), res.Tid)
}
