package transfer

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

func TestMain(m *testing.M) {
	// The format library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var ctx = context.Background()

// newRand returns a generator whose seed is printed; seed != 0 repeats a run.
func newRand(t testing.TB, seed uint64) *rand.Rand {
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// createDB creates a database that is written without fsync.
func createDB(t testing.TB, opt zwrite.Options) *zwrite.DB {
	t.Helper()
	opt.NoSync = true
	db, err := zwrite.Create(ctx, filepath.Join(t.TempDir(), "Data.fs"), opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// openReader opens a database as the server does.
func openReader(t testing.TB, path string) storage.Storage {
	t.Helper()
	u, err := storage.ParseURL("file://" + path)
	require.NoError(t, err)
	src, _, err := fs1.Open(ctx, u, storage.Options{Warnf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { src.Close() })
	return src
}

func begin(t testing.TB, db *zwrite.DB) *zwrite.Txn {
	t.Helper()
	txn, err := db.Begin(ctx, zwrite.Meta{})
	require.NoError(t, err)
	return txn
}

func commit(t testing.TB, txn *zwrite.Txn) zodb.Tid {
	t.Helper()
	tid, err := txn.Commit()
	require.NoError(t, err)
	return tid
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func dtypeOf(t testing.TB, text string) *ndarray.DType {
	t.Helper()
	d, err := ndarray.ParseDType(text)
	require.NoError(t, err)
	return d
}
