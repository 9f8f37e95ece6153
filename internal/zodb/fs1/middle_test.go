package fs1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// TestDamageInTheMiddleCostsItsObject: all else is served, as the object is in views that
// are not concerned.
func TestDamageInTheMiddleCostsItsObject(t *testing.T) {
	// Positions are relative to the second of three transactions, which has one
	// record at 23+1+2.
	const rec = 26
	for name, patch := range map[string]struct {
		off int64
		b   []byte
	}{
		"status":                {16, []byte("x")},
		"status 0":              {16, []byte{0}},
		"length short":          {8, u64(3)},
		"length beyond the end": {8, u64(1 << 40)},
		"length 2^63":           {8, u64(1 << 63)},
		"length max":            {8, u64(1<<64 - 1)},
		"length off by one":     {8, u64(rec + 42 + 3 + 1)},
		"tid 0":                 {0, u64(0)},
		"tid too high":          {0, u64(1 << 63)},
		"tid not ascending":     {0, u64(10)},
		"strings":               {17, []byte{0xff, 0xff}},
		"record tid":            {rec + 8, u64(5)},
		"record transaction":    {rec + 24, u64(4)},
		"record version":        {rec + 32, []byte{0, 1}},
		"data 2^62":             {rec + 34, u64(1 << 62)},
		"data 2^63-1":           {rec + 34, u64(1<<63 - 1)},
		"data max":              {rec + 34, u64(1<<64 - 1)},
		"data 100 GiB":          {rec + 34, u64(100 << 30)},
		"data longer":           {rec + 34, u64(4)},
		"data shorter":          {rec + 34, u64(2)},
		"data none":             {rec + 34, u64(0)},
		"trailing length":       {rec + 42 + 3, u64(7)},
	} {
		t.Run(name, func(t *testing.T) { damageInTheMiddle(t, name, patch.off, patch.b) })
	}
}

// damageInTheMiddle patches the second of three transactions.
func damageInTheMiddle(t *testing.T, name string, off int64, b []byte) {
	r := newRig(t)
	r.commit(put(10, "one", 1, 2))
	pos := r.w.End()
	r.commit(put(11, "two", 1))
	r.commit(put(12, "three", 1, 3))
	r.w.Patch(pos+off, b)
	r.mustOpen()
	if r.at0 != 12 {
		t.Fatalf("opened at %s", r.at0)
	}
	for _, xid := range []zodb.Xid{{At: 12, Oid: 1}, {At: 12, Oid: 2}, {At: 12, Oid: 3}, {At: 10, Oid: 2}} {
		err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, xid)
		if name == "strings" && xid == (zodb.Xid{At: 12, Oid: 2}) {
			r.wantCorrupt(xid) // it may have been in front of what was found
		} else if err != nil {
			t.Error(err)
		}
	}
	var corrupt *storage.CorruptError
	if buf, serial, err := r.Load(r.ctx, zodb.Xid{At: 11, Oid: 1}); err != nil && !errors.As(err, &corrupt) {
		t.Error(err)
	} else if err == nil && (serial != 11 || string(buf.Data) != "two") {
		t.Errorf("the damaged record is served: %s, %q", serial, buf.Data)
	}
	warned := strings.Join(r.warnings(), "\n")
	if n, _ := fmt.Sscanf(warned[strings.Index(warned, "position "):], "position %d", new(int64)); n != 1 || !strings.Contains(warned, "wcfs check") {
		t.Errorf("told: %s", warned)
	}
}

// pickles returns a record as Python writes it, of about n bytes.
func pickles(n int) []byte {
	return append([]byte("\x80\x02cm\nc\nq\x01."), fmt.Sprintf("\x80\x02T%s%s.", binary.LittleEndian.AppendUint32(nil, uint32(n)), strings.Repeat("x", n))...)
}

// TestWhatNobodyCanTellIsNotServed destroys more than a bit: then a record may be lost
// of which nobody knows what object it was of. A saved index knows.
func TestWhatNobodyCanTellIsNotServed(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		for name, spoil := range map[string]func(r *rig, txn int64){
			"a record and the length of the one in front": func(r *rig, _ int64) { r.w.Patch(r.w.RevPos(2, 11)+34, make([]byte, 600)) },
			"the transaction": func(r *rig, txn int64) { r.w.Patch(txn, make([]byte, 2200)) },
			"a record":        func(r *rig, _ int64) { r.w.Patch(r.w.RevPos(3, 11), make([]byte, 42)) },
		} {
			t.Run(fmt.Sprintf("%s, index %t", name, indexed), func(t *testing.T) {
				r := newRig(t)
				commit := func(tid zodb.Tid, oids ...zodb.Oid) int64 {
					at := r.w.End()
					txn := storagetest.Txn{Tid: tid}
					for _, oid := range oids {
						txn.Records = append(txn.Records, storagetest.Record{Oid: oid, Data: pickles(400 + 100*int(tid%2) + int(oid))})
					}
					r.commit(txn)
					return at
				}
				commit(10, 1, 2, 3, 4, 5)
				damaged := commit(11, 1, 2, 3, 5)
				commit(12, 5, 6)
				if indexed {
					r.w.SaveIndex(nil)
				}
				spoil(r, damaged)
				r.mustOpen()
				right := []zodb.Xid{{At: 10, Oid: 4}, {At: 12, Oid: 5}, {At: 12, Oid: 6}}
				wrong := []zodb.Xid{{At: 12, Oid: 3}}
				if indexed {
					right = append(right, zodb.Xid{At: 12, Oid: 4})
				} else {
					right = append(right, zodb.Xid{At: 10, Oid: 1}, zodb.Xid{At: 10, Oid: 3})
					wrong = append(wrong, zodb.Xid{At: 12, Oid: 4}, zodb.Xid{At: 11, Oid: 4}, zodb.Xid{At: 12, Oid: 7})
				}
				for _, xid := range right {
					if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, xid); err != nil {
						t.Errorf("%s: %v", xid, err)
					}
				}
				for _, xid := range wrong {
					r.wantCorrupt(xid)
				}
				var corrupt *storage.CorruptError
				if err := r.Iterate(r.ctx, 0, zodb.TidMax, func(*storage.Txn) error { return nil }); !indexed && !errors.As(err, &corrupt) {
					t.Errorf("iterate: %v", err)
				}
			})
		}
	}
}
