package transfer

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

var kills = flag.Int("kills", 15, "how often TestKilledImport kills a process")

// killedEnv has the path of the database for the process that gets killed.
const killedEnv = "TRANSFER_TEST_KILLED"

// killedData is the content of the array that the transaction after so many
// others makes or extends.
func killedData(txns int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(txns), 0))
	return randomBytes(rnd, 1+rnd.IntN(300_000))
}

// killedName: every third transaction makes an array, the others append to the
// last one.
func killedName(txns int) string { return fmt.Sprint("a", txns/3) }

// TestProcessThatGetsKilled is not a test but what runs in the other process of
// the next one: it imports and appends until it is killed.
func TestProcessThatGetsKilled(t *testing.T) {
	path := os.Getenv(killedEnv)
	if path == "" {
		t.Skip("runs in a process of its own")
	}
	db, err := zwrite.Open(ctx, path, zwrite.Options{NoSync: true, Buffer: 50_000})
	require.NoError(t, err)
	for n := len(transactions(t, path)); ; n++ {
		write := Append
		if n%3 == 0 {
			write = Import
		}
		_, err := write(ctx, db, source(t, killedData(n), n%2 == 0, Layout{}), killedName(n), Options{BlkSize: 40_000})
		require.NoError(t, err)
		if n%3 == 0 { // says that it is at work
			fmt.Println("imported", n)
		}
	}
}

// transactions returns the tids of all transactions.
func transactions(t testing.TB, path string) (tids []zodb.Tid) {
	t.Helper()
	src := openReader(t, path)
	defer src.Close()
	err := src.(storage.Iterator).Iterate(ctx, 0, zodb.TidMax, func(txn *storage.Txn) error {
		tids = append(tids, txn.Tid)
		return nil
	})
	require.NoError(t, err)
	return tids
}

// TestKilledImport kills a process that imports and appends at random points,
// -kills times. The database can be opened, ends with a whole transaction, and
// has all arrays up to there and nothing else.
func TestKilledImport(t *testing.T) {
	rnd := newRand(t, 0)
	path := filepath.Join(t.TempDir(), "Data.fs")
	before, tails := 0, 0
	n := *kills
	if testing.Short() {
		n = (n + 1) / 2
	}
	for i := range n {
		if i%20 == 0 { // begin anew before it takes long to look at
			before = 0
			path = filepath.Join(t.TempDir(), "Data.fs")
			db, err := zwrite.Create(ctx, path, zwrite.Options{NoSync: true})
			require.NoError(t, err)
			require.NoError(t, db.Close())
		}
		after := time.Duration(rnd.IntN(4000)) * time.Microsecond
		if i == n-1 && before == 0 {
			after = 2 * time.Second // something is to be committed
		}
		runAndKill(t, path, after)
		size := fileSize(t, path)
		db, err := zwrite.Open(ctx, path, zwrite.Options{NoSync: true})
		require.NoError(t, err)
		if fileSize(t, path) < size {
			tails++
		}
		tids := transactions(t, path)
		require.GreaterOrEqual(t, len(tids), before)
		checkKilled(t, path, tids, before)
		before = len(tids)
		require.NoError(t, db.Close())
	}
	t.Logf("%d kills, of which %d in the middle of a transaction", n, tails)
	require.NotZero(t, before)
}

// runAndKill runs the other process and kills it some time after it has begun to
// write.
func runAndKill(t *testing.T, path string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessThatGetsKilled$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it has
	require.NoError(t, err)
	time.Sleep(after)
	require.NoError(t, cmd.Process.Kill())
	err = cmd.Wait()
	require.Error(t, err)
	require.True(t, strings.Contains(err.Error(), "killed"), "%s", err)
}

// checkKilled checks the arrays of the transactions, those that are new at their
// own views, too.
func checkKilled(t *testing.T, path string, tids []zodb.Tid, checked int) {
	t.Helper()
	src := openReader(t, path)
	defer src.Close()
	var want []byte
	for n, tid := range tids {
		data := killedData(n)
		if n%3 != 0 {
			data = append(want, data...)
		}
		want = data
		if n >= checked {
			require.True(t, bytes.Equal(want, readNamed(t, src, killedName(n), tid)), "transaction %d", n)
		}
		if n%3 == 2 || n == len(tids)-1 {
			require.True(t, bytes.Equal(want, readNamed(t, src, killedName(n), src.Head())), "%s", killedName(n))
		}
	}
	next := len(tids)
	if next%3 == 0 {
		var missing *catalog.NotFoundError
		_, err := catalog.Find(ctx, src, src.Head(), killedName(next))
		require.True(t, errors.As(err, &missing), "%s: %v", killedName(next), err)
	}
}

func readNamed(t *testing.T, src storage.Storage, name string, at zodb.Tid) []byte {
	t.Helper()
	entry, err := catalog.Find(ctx, src, at, name)
	require.NoError(t, err)
	require.NotNil(t, entry.Array)
	var out bytes.Buffer
	require.NoError(t, Export(ctx, src, at, entry.Array, &out, false, nil))
	return out.Bytes()
}
