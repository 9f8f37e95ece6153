package oracle

import (
	"crypto/sha1"
	"os"
	"testing"
)

func TestEveryDatabaseIsDescribedAndPresent(t *testing.T) {
	names := All(t)
	for _, want := range []string{"basic", "bigtree", "packed", "topo"} {
		found := false
		for _, name := range names {
			found = found || name == want
		}
		if !found {
			t.Errorf("database %q is missing; have %q", want, names)
		}
	}
	for _, name := range names {
		db := Load(t, name)
		if _, err := os.Stat(db.Path); err != nil {
			t.Error(err)
		}
		if len(db.Files) == 0 || len(db.Txns) == 0 || db.Txns[len(db.Txns)-1].Tid != db.Head {
			t.Errorf("%s: %d files, %d transactions, head %s", name, len(db.Files), len(db.Txns), db.Head)
		}
	}
}

func TestSumBlockAddsZeros(t *testing.T) {
	whole := make([]byte, 10000)
	copy(whole, "data")
	if got, want := SumBlock([]byte("data"), 10000), Sum(sha1.Sum(whole)); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}
