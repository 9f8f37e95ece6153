package fsformat_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
	"pgregory.net/rapid"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// someRecord draws a header that is right, or nearly so.
func someRecord(t *rapid.T, pos int64) fsformat.Record {
	near := func(label string, x int64) int64 {
		switch rapid.IntRange(0, 9).Draw(t, "what "+label+" is") {
		case 0:
			return rapid.Int64Range(-1<<62, 1<<62).Draw(t, label) // NEO/go adds to it without a look
		case 1, 2, 3:
			return x + rapid.Int64Range(-1, 1).Draw(t, label)
		}
		return x
	}
	r := fsformat.Record{Pos: pos, Oid: zodb.Oid(rapid.IntRange(7, 9).Draw(t, "oid") / 2)}
	r.Tid = zodb.Tid(near("tid", rapid.Int64Range(600, 601).Draw(t, "about tid")))
	r.Txn = near("transaction", max(4, pos-rapid.OneOf(rapid.Just(int64(23)), rapid.Int64Range(23, 200)).Draw(t, "distance")))
	if rapid.Bool().Draw(t, "has one before") {
		r.Prev = near("previous", r.Txn-50)
	}
	if rapid.IntRange(0, 9).Draw(t, "has a version") == 0 {
		r.Version = 1
	}
	if rapid.Bool().Draw(t, "has data") {
		r.DataLen = near("length", 10)
	}
	return r
}

// verdict returns the innermost words of NEO/go about a record.
func verdict(err error) string {
	for rec := (*fsfmt.RecordError)(nil); errors.As(err, &rec); {
		err = rec.Err
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRecordsAreJudgedAsNEOJudgesThem compares with another implementation what is
// refused along the chains of a record, and why.
func TestRecordsAreJudgedAsNEOJudgesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 1000
		image := make([]byte, size)
		put := func(r fsformat.Record) {
			back := rapid.OneOf(rapid.Just(r.Prev), rapid.Int64Range(0, size)).Draw(t, "back pointer")
			copy(image[r.Pos:], fsformat.AppendNumber(r.Append(nil), back))
		}
		from := someRecord(t, rapid.Int64Range(400, size-50).Draw(t, "position"))
		put(from)
		if from.Prev >= 20 && from.Prev <= from.Pos-50 {
			put(someRecord(t, from.Prev))
		}
		f := bytes.NewReader(image)
		ours, theirs := fsformat.Cursor{F: f}, fsfmt.DataHeader{}
		compare := func(what string, err, neoErr error) bool {
			var damage *fsformat.DamageError
			got := ""
			if errors.As(err, &damage) {
				got = damage.What
			}
			if got != verdict(neoErr) {
				t.Fatalf("%s: %v; NEO/go says %v", what, err, neoErr)
			}
			return err == nil
		}
		if !compare("load", ours.Load(from.Pos), theirs.Load(f, from.Pos)) {
			return
		}
		if ours.DataLen == 0 && rapid.Bool().Draw(t, "follow the back pointer") {
			exists, err := ours.LoadBack()
			neoErr := theirs.LoadBack(f)
			if neoErr == io.EOF && err == nil && !exists {
				return
			}
			if !compare("back", err, neoErr) {
				return
			}
		} else if ours.Prev != 0 {
			if !compare("previous", ours.LoadPrev(), theirs.LoadPrevRev(f)) {
				return
			}
		}
		if ours.Pos != theirs.Pos || ours.Len() != theirs.Len() || ours.Tid != theirs.Tid {
			t.Fatalf("at %+v; NEO/go is at %+v", ours.Record, theirs)
		}
	})
}

func TestHeadersAreDecodedAsTheyWereEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someRecord(t, 500)
		if got := fsformat.DecodeRecord(500, r.Append(nil)); got != r {
			t.Fatalf("%+v became %+v", r, got)
		}
		text := rapid.SliceOfN(rapid.Byte(), 0, 99)
		user, desc, ext := text.Draw(t, "user"), text.Draw(t, "description"), text.Draw(t, "extension")
		want := fsformat.Txn{Pos: 4, Size: 1008, Tid: r.Tid, Status: fsformat.StatusPacked, User: len(user), Desc: len(desc), Ext: len(ext)}
		b := fsformat.AppendTxn(nil, r.Tid, 1000, fsformat.StatusPacked, user, desc, ext)
		if got := fsformat.DecodeTxn(4, b); got != want || got.DataPos() != 4+int64(len(b)) {
			t.Fatalf("%+v became %+v", want, got)
		}
	})
}
