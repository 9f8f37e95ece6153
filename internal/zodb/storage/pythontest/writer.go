package pythontest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// Writer is an application that commits.
type Writer struct {
	*Process
	t   testing.TB
	in  *json.Encoder
	out *bufio.Scanner
}

// Order is what a writer is to do: "work" with the storage that is named by Server,
// File or Config, or with none; "commit"; or "pack".
type Order struct {
	Do          string  `json:"do"`
	Server      string  `json:"server,omitempty"` // the socket of a ZEO server
	Storage     string  `json:"storage,omitempty"`
	File        string  `json:"file,omitempty"`
	Config      string  `json:"config,omitempty"` // as ZConfig has it
	Tid         string  `json:"tid,omitempty"`
	User        []byte  `json:"user"`
	Description []byte  `json:"description"`
	Extension   []byte  `json:"extension"`
	Records     []Entry `json:"records"`

	Undo   string   `json:"undo,omitempty"`   // a transaction
	Undone []string `json:"undone,omitempty"` // what it has changed
}

// Entry is a record to commit.
type Entry struct {
	Oid     string  `json:"oid"`
	Data    *[]byte `json:"data"`             // nil: delete
	Restore bool    `json:"restore"`          // as copies of databases do
	SameAs  string  `json:"sameas,omitempty"` // share the data of this revision
	Serial  string  `json:"serial,omitempty"` // what it replaces, if the writer does not know one
}

// Put returns an entry that gives an object a record.
func Put(oid zodb.Oid, data string) Entry {
	b := []byte(data)
	return Entry{Oid: oid.String(), Data: &b}
}

// Remove returns an entry that deletes an object.
func Remove(oid zodb.Oid) Entry { return Entry{Oid: oid.String()} }

// Writer starts a writer, for as long as the test. It works with nothing yet.
func (h *Host) Writer(t testing.TB) *Writer {
	t.Helper()
	dir, err := os.MkdirTemp("", "pythontest") // that of the test may be too long for a socket
	require.NoError(t, err)
	// The directory goes at once, so that nothing is left of a test that is killed.
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	process := h.Run(t, map[string]string{"writer": l.Addr().String(), "log": log.Name()})
	conn, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close() // the writer is killed anyway
		if t.Failed() {
			text, _ := io.ReadAll(log)
			t.Logf("writer: %s", text)
		}
		_ = log.Close() // it was only read
		process.Kill()
	})
	return &Writer{Process: process, t: t, in: json.NewEncoder(conn), out: bufio.NewScanner(conn)}
}

// Do has the writer do what it must be able to.
func (w *Writer) Do(o Order) zodb.Tid {
	w.t.Helper()
	tid, refused := w.Try(o)
	require.Empty(w.t, refused)
	return tid
}

// Try returns what the writer says if it cannot.
func (w *Writer) Try(o Order) (tid zodb.Tid, refused string) {
	w.t.Helper()
	require.NoError(w.t, w.Send(o))
	tid, refused, err := w.Answer()
	require.NoError(w.t, err)
	return tid, refused
}

// Send gives an order. It may be called from any goroutine, and so may Answer.
func (w *Writer) Send(o Order) error { return w.in.Encode(o) }

// Answer waits for the answer to the oldest order. An error means that the writer has
// ended.
func (w *Writer) Answer() (tid zodb.Tid, refused string, err error) {
	if !w.out.Scan() {
		return 0, "", errors.Join(errors.New("the writer has ended"), w.out.Err())
	}
	var answer struct{ Tid, Error string }
	if err := json.Unmarshal(w.out.Bytes(), &answer); err != nil {
		return 0, "", fmt.Errorf("answer of the writer %q: %w", w.out.Bytes(), err)
	}
	id, _ := storage.ParseID(answer.Tid) // there may be none
	return zodb.Tid(id), answer.Error, nil
}

// Commit commits, with a tid that the database chooses.
func (w *Writer) Commit(records ...Entry) zodb.Tid {
	w.t.Helper()
	return w.Do(Order{Do: "commit", Records: records})
}

// OrderOf returns the order to commit a transaction of a model, with its tid. A record that
// is the same as before is written as an undo writes it.
func OrderOf(txn storagetest.Txn) Order {
	o := Order{Do: "commit", Tid: txn.Tid.String(), User: txn.User, Description: txn.Description, Extension: txn.Extension}
	for _, r := range txn.Records {
		e := Remove(r.Oid)
		if r.Data != nil {
			e = Put(r.Oid, string(r.Data))
		}
		if r.Data != nil && r.SameAs != 0 {
			e.Restore, e.SameAs = true, r.SameAs.String()
		}
		o.Records = append(o.Records, e)
	}
	return o
}

// CopyOf is OrderOf as for a copy of a database: records are restored, which RelStorage
// wants if it is given a tid.
func CopyOf(txn storagetest.Txn) Order {
	o := OrderOf(txn)
	for i := range o.Records {
		o.Records[i].Restore = true
	}
	return o
}

// CommitTxn commits a transaction of a model, with its tid.
func (w *Writer) CommitTxn(txn storagetest.Txn) {
	w.t.Helper()
	require.Equal(w.t, txn.Tid, w.Do(OrderOf(txn)))
}
