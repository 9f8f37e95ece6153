package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// TestDeletedFileIsFoundByItsOid: its history can be asked for when no name leads
// to it any more.
func TestDeletedFileIsFoundByItsOid(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "Data.fs")
	out, err := zwrite.Create(ctx, path, zwrite.Options{NoSync: true})
	require.NoError(t, err)
	defer out.Close()
	var file zodb.Oid
	for _, edit := range []func(txn *zwrite.Txn){
		func(txn *zwrite.Txn) { file, err = bigfile.NewFile(txn, 8) },
		func(txn *zwrite.Txn) { txn.Delete(file) },
	} {
		txn, beginErr := out.Begin(ctx, zwrite.Meta{User: []byte("joe")})
		require.NoError(t, beginErr)
		edit(txn)
		require.NoError(t, err)
		_, err := txn.Commit()
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())

	db, head, err := opener().OpenHistory(ctx, path)
	require.NoError(t, err)
	defer db.Close()
	log := func(name string) (string, error) {
		var text strings.Builder
		o := report.NewLog(report.LogOptions{}, &text, nil)
		err := logOf(ctx, db, name, 0, head, o)
		require.NoError(t, o.End())
		return text.String(), err
	}
	text, err := log(file.String())
	require.NoError(t, err)
	require.Regexp(t, `^\w+  \S+ \S+  joe  deleted\n\w+  \S+ \S+  joe  created\n$`, text)
	_, err = log("0xffff")
	var notFound *catalog.NotFoundError
	require.ErrorAs(t, err, &notFound)
}
