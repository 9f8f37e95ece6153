package zwrite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// killedEnv has the path of the database for the process that gets killed.
const killedEnv = "ZWRITE_TEST_KILLED"

// TestProcessThatGetsKilled is not a test but what runs in the other process of
// the next one: it commits, and aborts, until it is killed. Each transaction
// gives all objects the same content.
func TestProcessThatGetsKilled(t *testing.T) {
	path := os.Getenv(killedEnv)
	if path == "" {
		t.Skip("runs in a process of its own")
	}
	db := reopen(t, path, Options{Buffer: 30_000})
	fmt.Println("it begins")
	for i := 0; ; i++ {
		txn := begin(t, db, Meta{})
		text := []byte(strings.Repeat(fmt.Sprintf("%s %d;", db.Head(), i), 1+i%700))
		for oid := range zodb.Oid(8) {
			txn.Store(oid, text)
		}
		if i%5 == 4 {
			txn.Abort()
		} else if _, err := txn.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill runs the other process and kills it some time after it has begun.
func runAndKill(t *testing.T, path string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessThatGetsKilled$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Errorf("writer: %v", err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("writer: %v", err)
	}
}

func TestKilledProcessLeavesWholeTransactionsAndNoLock(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	closeDB(t, create(t, path, Options{}))
	head, tails := zodb.Tid(0), 0
	n := 12
	if testing.Short() {
		n = 5
	}
	for i := range n {
		after := time.Duration(rnd.IntN(60)) * time.Millisecond
		if i == n-1 && head == 0 {
			after = 2 * time.Second // something is to be committed
		}
		runAndKill(t, path, after)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		db := reopen(t, path, Options{})
		if before.Size() > db.index.TopPos {
			tails++
		}
		if db.Head() < head {
			t.Fatalf("head went back from %s to %s", head, db.Head())
		}
		head = db.Head()
		checkAllTheSame(t, db)
		closeDB(t, db)
	}
	checkIndex(t, path, false)
	t.Logf("head %s; %d tails were cut off", head, tails)
	if head == 0 {
		t.Error("nothing was committed")
	}
}

// checkAllTheSame checks that the objects are of one transaction.
func checkAllTheSame(t *testing.T, db *DB) {
	t.Helper()
	if db.Head() == 0 {
		return
	}
	txn := begin(t, db, Meta{})
	defer txn.Abort()
	first, _, err := txn.Load(0)
	if err != nil {
		t.Fatal(err)
	}
	for oid := range zodb.Oid(8) {
		data, serial, err := txn.Load(oid)
		if err != nil || serial != db.Head() || string(data) != string(first) {
			t.Fatalf("object %s: serial %s, %v; want %s", oid, serial, err, db.Head())
		}
	}
}
