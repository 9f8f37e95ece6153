package pickle

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/oracle"
)

// text describes a value completely, as testdata/unpickle.py does.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case float64:
		return fmt.Sprintf("f%016x", math.Float64bits(x))
	case Bytes:
		return "b" + hex.EncodeToString([]byte(x))
	case string:
		return "u" + hex.EncodeToString([]byte(x))
	case Tuple:
		return "(" + texts(x) + ")"
	case *List:
		return "[" + texts(x.Items) + "]"
	case *Dict:
		return "{" + texts(flat(x)) + "}"
	case Class:
		return "<" + x.String() + ">"
	case *Object:
		return text(x.New) + text(x.Args) + "{" + texts(flat(x.Kwargs)) + "}" + text(x.State) + "[" + texts(x.Items) + "]{" + texts(flat(&Dict{x.Dict})) + "}"
	case Ref:
		return fmt.Sprintf("@%016x%s", uint64(x.Oid), text(x.Class))
	}
	return fmt.Sprint(v)
}

func texts(values []any) string {
	var all []string
	for _, v := range values {
		all = append(all, text(v))
	}
	return strings.Join(all, ",")
}

func flat(d *Dict) (values []any) {
	if d != nil {
		for _, item := range d.Items {
			values = append(values, item.Key, item.Value)
		}
	}
	return values
}

// TestRealRecordsAreWhatPythonDecodes compares with the unpickler of Python, and what is
// kept with what is only recognised.
func TestRealRecordsAreWhatPythonDecodes(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3; on Debian: sudo apt-get install python3")
	}
	var in, want bytes.Buffer
	var names, got []string
	classes := make(map[string]int)
	for _, db := range oracle.All(t) {
		for i, rec := range oracle.Load(t, db).Records(t) {
			if db == "bigtree" && i%20 != 0 {
				continue // they are all alike
			}
			class, state, err := Record(rec.Data)
			require.NoError(t, err, "%s: %s @%s", db, rec.Oid, rec.Tid)
			fmt.Fprintf(&in, "%x\n", rec.Data)
			names = append(names, fmt.Sprintf("%s: %s @%s", db, rec.Oid, rec.Tid))
			got = append(got, text(class)+" "+text(state))
			classes[class.Name]++
			checkScan(t, rec.Data)
		}
	}
	cmd := exec.Command(python, "testdata/unpickle.py")
	cmd.Stdin, cmd.Stdout = &in, &want
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	require.NoError(t, cmd.Run(), "%s", stderr)
	lines := strings.Split(strings.TrimSuffix(want.String(), "\n"), "\n")
	require.Equal(t, len(got), len(lines))
	for i := range got {
		if got[i] != lines[i] {
			t.Errorf("%s:\ngot  %.1000s\nwant %.1000s", names[i], got[i], lines[i])
		}
	}
	t.Logf("%v", classes)
	for _, class := range []string{"PersistentMapping", "ZBigArray", "ZBigFile", "ZBlk0", "ZBlk1", "ZData", "LOBTree", "LOBucket", "IOBTree"} {
		require.NotZero(t, classes[class], class)
	}
}
