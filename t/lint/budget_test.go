package lint

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var shrink = flag.Bool("shrink", false, "lower the budgets to what there is")

const (
	budgetFile = "budget.txt"
	budgetHead = `# Where a rule is broken, and how much: see doc.go. Nothing here may grow;
# go test ./t/lint -shrink lowers what has become less.
`
)

// budgetMu is held by the test that compares with the file, and may write it.
var budgetMu sync.Mutex

// budgets reads budget.txt: lines of a rule, a place and a number.
func budgets(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(budgetFile)
	require.NoError(t, err)
	defer f.Close()
	all := map[string]int{}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		require.Positive(t, i, line)
		all[line[:i]], err = strconv.Atoi(line[i+1:])
		require.NoError(t, err, line)
	}
	return all
}

// hold requires that no place breaks a rule more than its budget says, and that no budget
// is larger than it need be. found has the places that break it.
func hold(t *testing.T, rule, advice string, found map[string]int) {
	t.Helper()
	budgetMu.Lock()
	defer budgetMu.Unlock()
	all, lower := budgets(t), false
	for place, is := range found {
		if most := all[rule+" "+place]; is > most {
			t.Errorf("%s: %d, and not more than %d: %s", place, is, most, advice)
		}
	}
	for key, most := range all {
		place, ours := strings.CutPrefix(key, rule+" ")
		if !ours || found[place] >= most {
			continue
		}
		lower = true
		if all[key] = found[place]; all[key] == 0 {
			delete(all, key)
		}
		if !*shrink {
			t.Errorf("%s: the budget is %d, and it is only %d now: go test ./t/lint -shrink", place, most, found[place])
		}
	}
	if *shrink && lower {
		write(t, all)
	}
}

func write(t *testing.T, all map[string]int) {
	t.Helper()
	text := budgetHead
	for _, key := range slices.Sorted(maps.Keys(all)) {
		text += fmt.Sprintln(key, all[key])
	}
	require.NoError(t, os.WriteFile(budgetFile, []byte(text), 0o644))
}
