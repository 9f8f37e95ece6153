package zwrite

import (
	"bytes"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Protocols of pickles of a database that a Python 2 application has. For Python 3
// the protocol is always 3, as ZODB writes it.
const (
	minPython2 = 1
	maxPython2 = 3

	// python2Default is for a database without records: every ZODB on Python 2
	// reads that.
	python2Default = 2

	protocolTxns = 100 // how far back records are looked for
)

// findPython2 finds out what the application understands. Only Python 2 opens files
// with that magic. The version of its ZODB is told by the protocol that it wrote: 1
// before 5.3, 2 up to 5.4, then 3. The lowest of the root object and of the newest
// records is taken, since newer ones read it, too, and since an import may have
// written others.
func (db *DB) findPython2(magic string) error {
	if magic != fsformat.MagicPy2 {
		return nil
	}
	oids, err := db.newestOids()
	if err != nil {
		return err
	}
	protocol := 0
	for _, oid := range append(oids, RootOid) {
		data, _, err := db.read(oid)
		switch {
		case storage.IsNoData(err), fsformat.IsDamage(err): // whoever needs it will hear of it
			continue
		case err != nil:
			return err
		}
		if p := protocolOf(data); protocol == 0 || p < protocol {
			protocol = p
		}
	}
	if protocol == 0 {
		protocol = python2Default
	}
	db.python2 = protocol
	return nil
}

// newestOids returns the objects of the last transaction that has any.
func (db *DB) newestOids() (oids []zodb.Oid, err error) {
	end := db.index.TopPos
	s := fsformat.NewScanner(db.f, end)
	for i := 0; i < protocolTxns && end > fsformat.FirstTxnPos && len(oids) == 0; i++ {
		t, err := s.Before(end)
		var entries []fsformat.Entry
		if err == nil {
			entries, err = s.Records(&t)
		}
		if fsformat.IsDamage(err) {
			return oids, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries[:min(len(entries), protocolTxns)] {
			oids = append(oids, e.Oid)
		}
		end = t.Pos
	}
	return oids, nil
}

// protocolOf returns the protocol of the pickles of a record. Those before 2 do not
// tell theirs.
func protocolOf(data []byte) int {
	if len(data) < 2 || data[0] != pickle.OpProto {
		return minPython2
	}
	return min(max(int(data[1]), minPython2), maxPython2)
}

// understood returns a record as the application can read it, which has the Python 2 that
// writes that protocol, or Python 3 if it is 0. Of what comes from an Encoder none is kept
// as it is. Most of a root object that was there before is the application's.
func understood(protocol int, data []byte, isOldRoot bool) []byte {
	if protocol == 0 || isOldRoot || !bytes.HasPrefix(data, []byte{pickle.OpProto, maxPython2}) {
		return data
	}
	if for2, err := record.Python2(data, protocol); err == nil {
		return for2
	}
	return data
}
