package catalog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// timesInPython prints the tids it is given as package persistent shows them.
const timesInPython = `
import sys
from persistent.TimeStamp import TimeStamp
for line in sys.stdin:
    t = TimeStamp(bytes.fromhex(line.strip()))
    print(t, '%.6f' % t.timeTime())
`

// TestTimesAreThoseOfZODB compares with real Python, if it is there (make bin/venv).
func TestTimesAreThoseOfZODB(t *testing.T) {
	const python = "../../../bin/venv/bin/python"
	if _, err := exec.LookPath(python); err != nil {
		t.Skip("there is no Python with ZODB: make bin/venv")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	tids := make([]zodb.Tid, 20_000)
	var in bytes.Buffer
	for i := range tids {
		tids[i] = randomTid(rnd)
		if d := storage.DateOf(tids[i]); !dayExists(d.Year, d.Month, d.Day) {
			tids[i] = 1 // timeTime would be another one in Python
		}
		fmt.Fprintln(&in, tids[i])
	}
	cmd := exec.Command(python, "-c", timesInPython)
	cmd.Stdin = &in
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, len(tids))
	for i, tid := range tids {
		shown, seconds := lines[i][:26], lines[i][27:]
		when := storage.TimeOf(tid)
		if storage.Micro(tid) == 60e6 {
			require.True(t, strings.HasSuffix(shown, ":60.000000"), shown)
		} else {
			require.Equal(t, shown, FormatTime(tid), "%s", tid)
		}
		var want float64
		_, err := fmt.Sscan(seconds, &want)
		require.NoError(t, err)
		require.InDelta(t, want, float64(when.UnixMicro())/1e6, 2e-5, "%s", tid) // a float has no more digits far from 1970
		at, err := viewOf(shown, now)
		require.NoError(t, err)
		require.True(t, at >= tid && at-tid <= 72, "%s: %s", tid, at)
	}
}
